#include "engine/residency/distilled.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostOfText = 4096;

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

/// Numbers from 1 to 8 with "step" behind them: "4step", "4 steps", but not "14 steps".
std::set<int> numbers_of_steps(std::string_view text) {
  std::set<int> numbers;
  for (size_t at = text.find("step"); at != text.npos; at = text.find("step", at + 1)) {
    std::string_view before = text.substr(0, at);
    if (before.ends_with(' ')) before.remove_suffix(1);
    if (before.empty() || before.back() < '1' || before.back() > '8') continue;
    const int number = before.back() - '0';
    before.remove_suffix(1);
    if (before.empty() || !std::isdigit(static_cast<unsigned char>(before.back()))) numbers.insert(number);
  }
  return numbers;
}

bool says_so(std::string_view name) {
  const std::string text = simplified(name);
  const auto has = [&](std::string_view word) { return text.find(word) != text.npos; };
  if (has("undistill") || has("non distill") || has("nondistill") || has("not distill")) return false;
  const bool seko = text == "seko" || text.starts_with("seko ") || text.ends_with(" seko") || has(" seko ");
  return has("lightning") || has("lightx2v") || has("distill") || seko || !numbers_of_steps(text).empty();
}

/// Whether an entry of metadata is about the whole file.
bool is_about(std::string_view key) {
  return key.ends_with("title") || key.ends_with("name") || key.ends_with("description");
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
  return std::any_of(metadata.begin(), metadata.end(), [](const auto& entry) {
    return is_about(entry.first) && says_so(std::string_view(entry.second).substr(0, kMostOfText));
  });
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

int lora_steps(const fs::path& file) {
  std::error_code ignored;
  const fs::path whole = fs::absolute(file, ignored).lexically_normal();
  std::vector<std::string> texts = {whole.filename().string(), whole.parent_path().filename().string()};
  for (const auto& [key, text] : texts_of(whole))
    if (is_about(key)) texts.push_back(text.substr(0, kMostOfText));
  for (const std::string& text : texts)
    if (const std::set<int> numbers = numbers_of_steps(simplified(text)); !numbers.empty())
      return numbers.size() == 1 ? *numbers.begin() : 0;
  return 0;
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

bool is_distilled(const Request& request, const ModelParts& parts) {
  const auto is_on = [](double scale) { return scale != 0; };
  return std::ranges::any_of(networks_of(request.task),
                             [&](Network network) {
                               const bool transformer = network == Network::HighNoise || network == Network::LowNoise ||
                                                        network == Network::Speech;
                               return transformer && distilled_part(parts, network);
                             }) ||
         std::ranges::any_of(request.loras, [&](const Lora& lora) {
           return std::ranges::any_of(lora.scales, is_on) && distilled_lora(lora.path);
         });
}

}  // namespace wan
