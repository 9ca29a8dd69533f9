#include "engine/base/error.h"

namespace wan {

static std::string join(const std::vector<FieldError>& errors) {
  std::string text;
  for (const FieldError& error : errors) text += (text.empty() ? "" : "\n") + error.line();
  return text;
}

InvalidRequest::InvalidRequest(std::vector<FieldError> list)
    : std::runtime_error(join(list)), errors(std::move(list)) {}

static std::string join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

OtherFiles::OtherFiles(std::vector<std::string> list) : std::runtime_error(join(list)), lines(std::move(list)) {}

}  // namespace wan
