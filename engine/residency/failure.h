// Failures that no kind of ours describes, in words for a user.
#pragma once

#include <exception>
#include <string>

namespace wan {

/// What became of it, in one line: that memory ran out, whoever noticed it; torch's message without its backtrace; else
/// what(). A library's document error is named as a bug, since each parser catches its own.
std::string text_of(const std::exception& error);

}  // namespace wan
