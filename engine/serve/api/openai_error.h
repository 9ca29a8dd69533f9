// Errors as OpenAI's calls tell them.
#pragma once

#include <string>
#include <vector>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

/// {"error": {"message", "type", "param", "code"}}: what the `openai` packages make an exception of, by the status. The
/// type follows from the status; `param` names the field that is at fault, empty: none.
Answer openai_error(int status, const std::string& code, const std::string& text, const std::string& param = "",
                    std::vector<Header> headers = {});

}  // namespace wan::serve
