// Names that nobody can guess.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wan::serve {

/// A random UUID (version 4) in lower case: "2b7cfb3f-8f0e-4d55-9a0e-6a1c3d1f0f57". Throws std::system_error where the
/// system has no random bits.
std::string new_uuid();
/// `bytes` random bytes as lower-case hexadecimal digits. Throws as new_uuid does.
std::string random_hex(size_t bytes);
/// Bytes as lower-case hexadecimal digits.
std::string hex_text(const unsigned char* bytes, size_t count);
/// Whether a text has the form of a UUID, of any version and in either case.
bool is_uuid(std::string_view text);

}  // namespace wan::serve
