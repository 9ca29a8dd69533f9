// Bodies of multipart/form-data (RFC 7578): fields and files of one request.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace wan::serve {

/// What is wrong with a body that is said to be a form: "has no boundary at its end".
struct BrokenForm : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct FormPart {
  std::string name;       // of the field
  std::string file_name;  // as the client calls it; may be empty
  std::string type;       // Content-Type of the part; empty: not told
  bool is_file = false;   // it came with a file name
  std::string_view bytes = {};
};

/// The boundary that a Content-Type of multipart/form-data names; nothing for other types, an empty text where it names
/// none.
std::optional<std::string> form_boundary(std::string_view content_type);

/// The parts in their order, at most 100. Their bytes stay within `body`. Throws BrokenForm.
std::vector<FormPart> form_parts(std::string_view body, const std::string& boundary);

}  // namespace wan::serve
