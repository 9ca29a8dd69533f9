// Inputs that stand in the request itself.
#pragma once

#include <string>

namespace wan {

/// The bytes of a data URL (RFC 2397): base64 with or without padding, URL-safe letters, white space and line breaks
/// anywhere, percent-encoding; or percent-encoded bytes without ;base64. Throws InvalidRequest naming `field` where it
/// is none: without a comma, an impossible letter or length (what and where), blanks in place of '+', or empty content.
std::string data_url_bytes(const std::string& url, const char* field);

}  // namespace wan
