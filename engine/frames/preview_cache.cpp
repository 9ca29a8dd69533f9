#include "engine/frames/preview_cache.h"

#include <ATen/ATen.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "engine/frames/latent_preview.h"
#include "models/files/atomic_file.h"
#include "models/files/digest.h"
#include "models/files/json.h"
#include "models/vae/latent.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// {"fit": 1, "vae": DIGESTS, "factors": [[red, green, blue] of each channel, then what is added]}
constexpr const char *kFit = "fit", *kVae = "vae", *kFactors = "factors";
constexpr int64_t kRows = vae::kLatentChannels + 1, kColours = 3;

json read(const fs::path& file) {
  // What is no file, a pipe say, could be read for ever.
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) return {};
  const uintmax_t size = fs::file_size(file, failed);
  if (failed || size > JsonLimits().bytes) return {};
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  try {
    return parse_json(text.str());
  } catch (const BrokenJson&) {  // as if there was none
    return {};
  }
}

/// Nothing unless it is [17, 3] of finite numbers.
std::optional<vae::LatentRgb> map_in(const json& rows) {
  if (!rows.is_array() || int64_t(rows.size()) != kRows) return std::nullopt;
  at::Tensor factors = at::empty({kRows, kColours}, at::kDouble);
  auto values = factors.accessor<double, 2>();
  for (int64_t row = 0; row < kRows; ++row) {
    const json& colours = rows[size_t(row)];
    if (!colours.is_array() || int64_t(colours.size()) != kColours) return std::nullopt;
    for (int64_t colour = 0; colour < kColours; ++colour) {
      const json& value = colours[size_t(colour)];
      if (!value.is_number() || !std::isfinite(value.get<double>())) return std::nullopt;
      values[row][colour] = value.get<double>();
    }
  }
  return vae::LatentRgb{factors};
}

}  // namespace

fs::path PreviewCache::file_of(const std::string& vae) const {
  return folder_.empty() ? fs::path() : folder_ / (sha256({vae}).substr(0, 32) + ".json");
}

std::optional<vae::LatentRgb> PreviewCache::find(const std::string& vae) const {
  if (folder_.empty()) return std::nullopt;
  const json content = read(file_of(vae));
  if (!content.is_object() || content.value(kFit, json()) != kPreviewFit || content.value(kVae, json()) != vae)
    return std::nullopt;
  return map_in(content.value(kFactors, json()));
}

void PreviewCache::keep(const std::string& vae, const vae::LatentRgb& map) const {
  if (folder_.empty()) return;
  json rows = json::array();
  for (int64_t row = 0; row < kRows; ++row) {
    const double* colours = map.factors[row].const_data_ptr<double>();
    rows.push_back(std::vector<double>(colours, colours + kColours));
  }
  const std::string text = json{{kFit, kPreviewFit}, {kVae, vae}, {kFactors, rows}}.dump(1) + "\n";
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
  try {
    AtomicFile whole(file_of(vae).string());
    whole.write(text.data(), text.size());
    whole.commit();
  } catch (const std::runtime_error&) {  // a fit in the next process, nothing else
  }
}

}  // namespace wan
