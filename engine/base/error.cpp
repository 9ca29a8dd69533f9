#include "engine/base/error.h"

namespace wan {

static std::string join(const std::vector<FieldError>& errors) {
  std::string text;
  for (const FieldError& error : errors) text += (text.empty() ? "" : "\n") + error.line();
  return text;
}

InvalidRequest::InvalidRequest(std::vector<FieldError> list)
    : std::runtime_error(join(list)), errors(std::move(list)) {}

}  // namespace wan
