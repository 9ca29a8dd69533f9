#include "models/rife/version.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>

#include "models/files/error.h"

namespace wan::rife {
namespace {

/// More than any release has.
constexpr size_t kMostBlocks = 8;

/// What the layers of a network are made of, beside their widths.
enum class Body {
  Prelu,       // convolutions with PReLU
  Leaky,       // the same without learned slopes
  Residual,    // convolutions scaled by `beta` and added to their input
  InTwoHalves  // these in two groups of channels
};
enum class Head {
  None,
  Two,    // `encode.0` and `encode.1`
  Seven,  // `encode.0` to `encode.6`
  Named,  // `encode.cnn0` to `encode.cnn3`
};

/// All that tells one release from another.
struct Traits {
  Body body;
  Head head;
  int64_t head_width, features;
  int64_t outputs;  // of a block's last layer, as it is stored
  std::vector<int64_t> widths;

  bool operator==(const Traits&) const = default;
};

struct Release {
  const char* name;
  std::optional<Version> version;  // nothing: not served
  Traits traits;
};

// Source: the model files of Practical-RIFE and vs-rife 5.6.
const Release kReleases[] = {
    {"4.0 or 4.1", Version::V4_0, {Body::Prelu, Head::None, 0, 0, 5, {192, 128, 96, 64}}},
    {"4.2, 4.3 or 4.4", {}, {Body::Leaky, Head::None, 0, 0, 5, {192, 128, 96, 64}}},
    {"4.5", {}, {Body::Residual, Head::None, 0, 0, 20, {192, 128, 96, 64}}},
    {"4.6", Version::V4_6, {Body::Residual, Head::None, 0, 0, 24, {192, 128, 96, 64}}},
    {"4.7, 4.8 or 4.9", Version::V4_7, {Body::Residual, Head::Two, 16, 4, 24, {192, 128, 96, 64}}},
    {"4.10, 4.11 or 4.12", {}, {Body::Residual, Head::Seven, 32, 8, 24, {192, 128, 96, 64}}},
    {"4.12.lite or 4.13.lite", {}, {Body::Residual, Head::Seven, 32, 4, 24, {128, 96, 64, 48}}},
    {"4.13 to 4.19, or 4.24", Version::V4_13, {Body::Residual, Head::Named, 32, 8, 24, {192, 128, 96, 64}}},
    {"4.20", Version::V4_13, {Body::Residual, Head::Named, 32, 8, 24, {384, 192, 96, 48}}},
    {"4.14.lite", {}, {Body::InTwoHalves, Head::Named, 32, 8, 24, {192, 128, 96, 64}}},
    {"4.15.lite, 4.16.lite or 4.17.lite", {}, {Body::Residual, Head::Named, 16, 4, 24, {128, 96, 64, 48}}},
    {"4.21, 4.22 or 4.23", {}, {Body::Residual, Head::Named, 32, 8, 52, {256, 192, 96, 48}}},
    {"4.22.lite", {}, {Body::Residual, Head::Named, 16, 4, 52, {192, 128, 64, 32}}},
    {"4.25 or 4.26", Version::V4_25, {Body::Residual, Head::Named, 16, 4, 52, {192, 128, 96, 64, 32}}},
    {"4.25.lite", {}, {Body::Residual, Head::Named, 16, 4, 52, {192, 128, 96, 64, 24}}},
    {"4.25.heavy", {}, {Body::Residual, Head::Named, 16, 4, 52, {384, 256, 192, 128, 64}}},
    {"4.26.heavy", {}, {Body::Residual, Head::Named, 16, 16, 52, {192, 128, 96, 64, 32}}},
};

std::string served() {
  std::string out;
  for (const Release& release : kReleases)
    if (release.version) out += (out.empty() ? "" : "; ") + std::string(release.name);
  return out;
}

/// Looks tensors up by their names without prefix.
class Reader {
 public:
  explicit Reader(const StoredTensors& tensors) : tensors_(tensors), prefix_(prefix(tensors)) {}
  bool has(const std::string& name) const { return tensors_.contains(prefix_ + name); }
  /// 0 where tensor or axis are absent.
  int64_t axis(const std::string& name, size_t index) const {
    const auto found = tensors_.find(prefix_ + name);
    return found == tensors_.end() || index >= found->second.shape.size() ? 0 : found->second.shape[index];
  }

 private:
  const StoredTensors& tensors_;
  const std::string prefix_;
};

Body body_of(const Reader& tensors) {
  if (tensors.has("block0.convblock.0.beta"))
    return tensors.axis("block0.convblock.0.conv.weight", 1) == tensors.axis("block0.convblock.0.conv.weight", 0)
               ? Body::Residual
               : Body::InTwoHalves;
  return tensors.has("block0.convblock.0.1.weight") ? Body::Prelu : Body::Leaky;
}

Traits traits_of(const Reader& tensors) {
  Traits traits{body_of(tensors), Head::None, 0, 0, 0, {}};
  if (tensors.has("encode.cnn0.weight"))
    traits.head = Head::Named;
  else if (tensors.has("encode.0.weight"))
    traits.head = tensors.has("encode.6.weight") ? Head::Seven : Head::Two;
  if (traits.head != Head::None) {
    const bool named = traits.head == Head::Named;
    traits.head_width = tensors.axis(named ? "encode.cnn0.weight" : "encode.0.weight", 0);
    traits.features = tensors.axis(named                      ? "encode.cnn3.weight"
                                   : traits.head == Head::Two ? "encode.1.weight"
                                                              : "encode.6.weight",
                                   1);
  }
  traits.outputs =
      tensors.axis(tensors.has("block0.lastconv.weight") ? "block0.lastconv.weight" : "block0.lastconv.0.weight", 1);
  for (size_t block = 0; block < kMostBlocks; ++block) {
    const std::string name = "block" + std::to_string(block) + ".conv0.1.0.weight";
    if (!tensors.has(name)) break;
    traits.widths.push_back(tensors.axis(name, 0));
  }
  return traits;
}

/// "blocks 64 and 32 wide, 4 features, 24 outputs": of a network that no release is like.
std::string described(const Traits& traits) {
  std::string widths;
  for (const int64_t width : traits.widths) widths += (widths.empty() ? "" : ", ") + std::to_string(width);
  return "blocks of widths " + (widths.empty() ? "unknown" : widths) + ", " + std::to_string(traits.features) +
         " features and " + std::to_string(traits.outputs) + " outputs";
}

}  // namespace

std::string releases(Version version) {
  std::string out;
  for (const Release& release : kReleases)
    if (release.version == version) out += (out.empty() ? "" : "; ") + std::string(release.name);
  return out;
}

int64_t Architecture::features() const {
  switch (version) {
    case Version::V4_0:
    case Version::V4_6:
      return 0;
    case Version::V4_13:
      return 8;
    case Version::V4_7:
    case Version::V4_25:
      return 4;
  }
  return 0;
}

std::string prefix(const StoredTensors& tensors) {
  constexpr std::string_view kModule = "module.";
  const auto found = tensors.lower_bound(std::string(kModule));
  return std::string(found != tensors.end() && found->first.starts_with(kModule) ? kModule : "");
}

Architecture architecture_of(const StoredTensors& tensors, const std::string& label) {
  const Reader reader(tensors);
  if (!reader.has("block0.conv0.0.0.weight"))
    throw ModelError(label, "must be a RIFE, with a tensor block0.conv0.0.0.weight, has none; served are RIFE " +
                                served() + ", as flownet.pkl, .pth or .safetensors");
  const Traits traits = traits_of(reader);
  const auto found = std::find_if(std::begin(kReleases), std::end(kReleases),
                                  [&](const Release& release) { return release.traits == traits; });
  if (found == std::end(kReleases))
    throw ModelError(label, "must be a RIFE that is served, is one that is not known: " + described(traits) +
                                "; take RIFE " + served());
  if (!found->version)
    throw ModelError(label,
                     "must be a RIFE that is served, is RIFE " + std::string(found->name) + "; take RIFE " + served());
  return {*found->version, traits.widths, traits.head_width};
}

Version version_of(const StoredTensors& tensors, const std::string& label) {
  return architecture_of(tensors, label).version;
}

Version version_of(const Checkpoint& checkpoint) {
  return version_of(checkpoint.tensors(), checkpoint.label());
}

}  // namespace wan::rife
