// URLs as messages, logs and files may say them.
#pragma once

#include <string>

namespace wan {

/// A URL without user name and password, query and fragment, where secrets stand. Other texts are returned as they are.
std::string public_url(const std::string& url);

}  // namespace wan
