#include "engine/serve/api/openai_error.h"

#include <utility>

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

const char* type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

}  // namespace

Answer openai_error(int status, const std::string& code, const std::string& text, const std::string& param,
                    std::vector<Header> headers) {
  ordered_json error;
  error["message"] = text;
  error["type"] = type_of(status);
  error["param"] = param.empty() ? ordered_json(nullptr) : ordered_json(param);
  error["code"] = status == 401 ? std::string("invalid_api_key") : code;
  ordered_json body;
  body["error"] = std::move(error);
  return json_answer(body, status, std::move(headers));
}

}  // namespace wan::serve
