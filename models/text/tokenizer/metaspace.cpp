#include "models/text/tokenizer/metaspace.h"

#include "models/files/error.h"
#include "models/files/utf8.h"
#include "models/text/tokenizer/fields.h"

namespace wan::text {

Metaspace::Metaspace(const nlohmann::json& value, const std::string& where) {
  Fields fields(value, where);
  if (const std::string type = fields.text("type"); type != "Metaspace")
    fields.fail("must be the pre-tokenizer Metaspace, got " + printable(type));
  mark_ = fields.text("replacement");
  if (from_utf8(mark_).size() != 1) fields.fail("replacement must be one character");
  fields.take("str_rep");  // older files repeat the mark under this name; the library reads it as little
  split_ = fields.flag("split", true);
  if (!fields.take("prepend_scheme").is_null()) {
    const std::string scheme = fields.text("prepend_scheme");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      fields.fail("prepend_scheme must be always, first or never, got " + printable(scheme));
    prepend_ = scheme == "always" ? Prepend::Always : scheme == "first" ? Prepend::First : Prepend::Never;
  }
  if (!fields.flag("add_prefix_space", true)) {
    if (prepend_ != Prepend::Never && !fields.take("prepend_scheme").is_null())
      fields.fail("add_prefix_space is false and prepend_scheme is not never");
    prepend_ = Prepend::Never;
  }
  fields.finish();
}

std::vector<std::string> Metaspace::operator()(std::string_view segment, bool first) const {
  std::string text;
  for (char c : segment) {
    if (c == ' ')
      text += mark_;
    else
      text += c;
  }
  const bool wanted = prepend_ == Prepend::Always || (prepend_ == Prepend::First && first);
  if (wanted && !text.starts_with(mark_)) text.insert(0, mark_);

  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t next = split_ ? text.find(mark_, at + 1) : text.npos;
    parts.push_back(text.substr(at, next - at));
    at = std::min(next, text.size());
  }
  return parts;
}

}  // namespace wan::text
