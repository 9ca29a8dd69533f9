#include "engine/residency/tokenizer_places.h"

#include <system_error>

#include "engine/residency/part_kinds.h"

namespace wan {

namespace fs = std::filesystem;

std::vector<TokenizerPlace> tokenizer_places(const fs::path& root, const std::vector<fs::path>& encoders) {
  std::vector<TokenizerPlace> places;
  std::error_code ignored;
  if (fs::is_directory(root, ignored)) {
    places.push_back({root / kOfficialTokenizer, kOfficialLayout});
    places.push_back({root / kDiffusersTokenizer, kDiffusersLayout});
  }
  const std::string rule = "beside the text encoder";
  for (const fs::path& encoder : encoders) {
    const fs::path path = fs::absolute(encoder), beside = path.parent_path();
    if (fs::is_directory(path, ignored)) places.push_back({path, rule});
    places.push_back({beside, rule});
    for (const char* folder : {kOfficialTokenizer, "umt5-xxl", kDiffusersTokenizer})
      places.push_back({beside / folder, rule});
  }
  return places;
}

}  // namespace wan
