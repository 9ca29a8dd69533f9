// The address of a language server, from what a user names it by.
#pragma once

#include <string>

#include "engine/base/note.h"
#include "engine/request/request.h"

namespace wan {

/// That a render would ask the server of `request`, which it has, and that nobody is asked now.
Note expansion_note(const Request& request);

/// Where chats of the server at `url` are sent to: "http://127.0.0.1:8080", ".../v1", ".../v1/" and
/// ".../v1/chat/completions" are all ".../v1/chat/completions". A path that already names a version (v1, v1beta) gets no
/// other one. Throws InvalidRequest naming `field` where the URL is none of http or https, holds a name, a password, a
/// query or a fragment, or is longer than 2048 letters.
std::string chat_address(const std::string& url, const std::string& field = "expander_url");

}  // namespace wan
