#include "engine/residency/distilled.h"

#include <algorithm>
#include <cctype>

#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Lower case, with one blank for each run of what is neither letter nor digit.
std::string simplified(std::string_view name) {
  std::string text;
  for (unsigned char letter : name) {
    if (std::isalnum(letter) || letter >= 0x80)
      text += char(std::tolower(letter));
    else if (!text.empty() && text.back() != ' ')
      text += ' ';
  }
  return text;
}

/// A number from 1 to 8 with "step" behind it: "4step", "4 steps", but neither "14 steps" nor "0.4 step".
bool counts_few_steps(std::string_view text) {
  for (size_t at = text.find("step"); at != text.npos; at = text.find("step", at + 1)) {
    std::string_view before = text.substr(0, at);
    if (before.ends_with(' ')) before.remove_suffix(1);
    if (before.empty() || before.back() < '1' || before.back() > '8') continue;
    before.remove_suffix(1);
    if (before.empty() || !std::isdigit(static_cast<unsigned char>(before.back()))) return true;
  }
  return false;
}

bool says_so(std::string_view name) {
  const std::string text = simplified(name);
  const auto has = [&](std::string_view word) { return text.find(word) != text.npos; };
  if (has("undistill") || has("non distill") || has("nondistill") || has("not distill")) return false;
  const bool seko = text == "seko" || text.starts_with("seko ") || text.ends_with(" seko") || has(" seko ");
  return has("lightning") || has("lightx2v") || has("distill") || seko || counts_few_steps(text);
}

std::map<std::string, std::string> texts_of(const fs::path& file) {
  try {
    return metadata_of(MappedFile::open(file));
  } catch (const ModelError&) {
    return {};  // told where its weights are read
  }
}

}  // namespace

bool distilled(std::string_view name, const std::map<std::string, std::string>& metadata) {
  if (says_so(name)) return true;
  for (const auto& [key, text] : metadata)
    for (std::string_view about : {"title", "name", "description"})
      if (key.ends_with(about) && says_so(std::string_view(text).substr(0, 4096))) return true;
  return false;
}

bool distilled_file(const fs::path& file) {
  const std::string name = file.filename().string();
  return distilled(name) || distilled(name, texts_of(file));
}

bool distilled_lora(const fs::path& file) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(file, ignored).lexically_normal();
  return distilled_file(whole) || distilled(whole.parent_path().filename().string());
}

bool distilled_part(const ModelParts& parts, Network network) {
  const auto found = parts.networks.find(network);
  if (found == parts.networks.end()) return false;
  const ModelPart& part = found->second;
  if (distilled(part.name) || distilled(part.path.filename().string())) return true;
  if (!parts.root.empty() && distilled((parts.root / "").parent_path().filename().string())) return true;
  const std::vector<PartFile> files = parts.files_of(field_of(network));
  return !files.empty() && distilled_file(files.front().path);
}

}  // namespace wan
