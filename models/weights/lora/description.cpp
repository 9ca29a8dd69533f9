#include "models/weights/lora/description.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/differences.h"
#include "models/weights/lora/keys.h"

namespace wan::lora {
namespace {

/// A transformer of the family: sizes of its tensors.
struct Architecture {
  std::string name;
  bool runs;  // by this program
  int64_t width, feed_forward, blocks, channels;
};

/// In the order in which they are tried: a LoRA that leaves the patch embedding alone fits both of 14B.
const Architecture kArchitectures[] = {
    {"Wan 14B transformer (2.2 A14B, 2.1 14B)", true, 5120, 13824, 40, 16},
    {"Wan 14B image-to-video transformer (2.2 A14B, 2.1 14B)", true, 5120, 13824, 40, 36},
    {"Wan 2.2 TI2V-5B transformer", false, 3072, 14336, 30, 48},
    {"Wan 2.1 T2V-1.3B transformer", false, 1536, 8960, 30, 16},
};

bool is_published(int64_t width) {
  const auto has = [width](const Architecture& sizes) { return sizes.width == width; };
  return std::any_of(std::begin(kArchitectures), std::end(kArchitectures), has);
}

/// Names and shapes of the official release. Source: wan/modules/model.py.
StoredTensors network_of(const Architecture& sizes) {
  constexpr int64_t kText = 4096, kTime = 256, kLatent = 16, kPatch = 4;
  StoredTensors tensors;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    StoredTensor tensor{.dtype = at::kBFloat16, .shape = std::move(shape), .strides = {}, .file = nullptr};
    tensors.emplace(name, std::move(tensor));
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const int64_t width = sizes.width, out = sizes.channels == 48 ? 48 : kLatent;
  add("patch_embedding.weight", {width, sizes.channels, 1, 2, 2});
  add("patch_embedding.bias", {width});
  linear("text_embedding.0", width, kText);
  linear("text_embedding.2", width, width);
  linear("time_embedding.0", width, kTime);
  linear("time_embedding.2", width, width);
  linear("time_projection.1", 6 * width, width);
  linear("head.head", kPatch * out, width);
  add("head.modulation", {1, 2, width});
  for (int64_t i = 0; i < sizes.blocks; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    for (const char* attention : {"self_attn.", "cross_attn."}) {
      for (const char* part : {"q", "k", "v", "o"}) linear(block + attention + part, width, width);
      for (const char* norm : {"norm_q.weight", "norm_k.weight"}) add(block + attention + norm, {width});
    }
    linear(block + "ffn.0", sizes.feed_forward, width);
    linear(block + "ffn.2", width, sizes.feed_forward);
    add(block + "norm3.weight", {width});
    add(block + "norm3.bias", {width});
    add(block + "modulation", {1, 6, width});
  }
  return tensors;
}

/// Rows and columns of what a module's factors are of, whichever half of them is there; 0: not told.
struct Extent {
  int64_t rows = 0, columns = 0;
};

Extent extent_of(const ModuleKeys& at, const StoredTensors& tensors) {
  const auto size = [&](Part part, size_t axis) -> int64_t {
    const auto key = at.keys.find(part);
    if (key == at.keys.end()) return 0;
    constexpr int64_t kMost = 1 << 20;  // products of two stay far from overflow
    const std::vector<int64_t>& shape = tensors.at(key->second).shape;
    return shape.size() == 2 && shape[axis] <= kMost ? shape[axis] : 0;
  };
  const int64_t w1_rows = std::max(size(Part::W1, 0), size(Part::W1A, 0)),
                w1_columns = std::max(size(Part::W1, 1), size(Part::W1B, 1)),
                w2_rows = std::max(size(Part::W2, 0), size(Part::W2A, 0)),
                w2_columns = std::max(size(Part::W2, 1), size(Part::W2B, 1));
  return {std::max({size(Part::Up, 0), size(Part::Hada1A, 0), size(Part::Diff, 0), w1_rows * w2_rows}),
          std::max({size(Part::Down, 1), size(Part::Hada1B, 1), size(Part::Diff, 1), w1_columns * w2_columns})};
}

/// One of the width of the first linear of a block that the file has factors of; nothing where it has none.
std::optional<Architecture> measured(const SortedKeys& keys, const StoredTensors& tensors) {
  Architecture sizes{"", true, 0, 0, 40, 16};
  for (const auto& [module, at] : keys.modules) {
    const Extent extent = extent_of(at, tensors);
    const bool attention = module.find("_attn.") != module.npos, up = module.ends_with(".ffn.0"),
               down = module.ends_with(".ffn.2");
    if (sizes.width == 0 && attention) sizes.width = std::max(extent.rows, extent.columns);
    if (sizes.width == 0 && (up || down)) sizes.width = up ? extent.columns : extent.rows;
    if (up || down) sizes.feed_forward = std::max(sizes.feed_forward, up ? extent.rows : extent.columns);
  }
  if (sizes.width == 0) return std::nullopt;
  sizes.name = "Wan transformer of no published size (" + std::to_string(sizes.width) + " wide)";
  return sizes;
}

std::string kind_text(const Difference& difference) {
  if (difference.kind == Kind::Full) {
    const size_t dot = difference.tensor.rfind('.');
    return "difference of a " + difference.tensor.substr(dot == std::string::npos ? 0 : dot + 1);
  }
  return name(difference.kind) + std::string(difference.dora ? " with DoRA" : "");
}

void count(const std::vector<Difference>& differences, Description& description) {
  for (const Difference& difference : differences) {
    ++description.kinds[kind_text(difference)];
    if (difference.kind == Kind::Full) continue;
    if (difference.rank > 0) ++description.ranks[difference.rank];
    if (difference.alpha)
      ++description.alphas[*difference.alpha];
    else if (difference.rank > 0)
      ++description.without_alpha;
    ++description.scales[difference.scale];
  }
}

/// What a file is for that changes no transformer of Wan 2.2.
void tell_foreign(const SortedKeys& keys, Description& description) {
  if (keys.unknown.empty() && !keys.exempt.empty()) {
    description.target = "image tokens of Wan 2.1 alone";
    description.exempt = keys.exempt;
    description.unused = "which Wan 2.2 does not have: it changes nothing there; take another LoRA";
    return;
  }
  const std::string_view family = family_of(keys.unknown);
  description.target =
      family.empty() ? "a network that is not known" : "a network of another family (" + std::string(family) + ")";
  if (!of_text_encoder_alone(keys)) return;
  description.target = "a text encoder";
  description.unused = "whose LoRAs are not used with Wan 2.2; leave this one out, or take one of the transformer";
}

}  // namespace

Description describe(const std::filesystem::path& path) {
  const auto mapped = MappedFile::open(path);
  const StoredTensors all = read_tensors(mapped), tensors = half_of(all, Half::High);
  const std::string label = path.string();
  Description description;
  description.halves = halves_of(all);
  if (format_of(*mapped) == &kSafetensors) description.metadata = read_safetensors_metadata(mapped);
  const AdapterMetadata adapter = AdapterMetadata::of(description.metadata, label);
  std::optional<ModelError> first;
  std::map<int64_t, ModelError> by_width;  // the first of each
  const auto fits = [&](const Architecture& sizes, SortedKeys keys, const StoredTensors& network) {
    try {
      count(make_differences(keys, tensors, network, adapter, label), description);
    } catch (const ModelError& error) {
      if (!first) first = error;
      by_width.emplace(sizes.width, error);
      return false;
    }
    description.target = sizes.name;
    description.applies = sizes.runs;
    description.dialect = std::move(keys.dialect);
    description.exempt = std::move(keys.exempt);
    description.unknown = std::move(keys.unknown);
    return true;
  };
  SortedKeys keys;
  for (const Architecture& sizes : kArchitectures) {
    const StoredTensors network = network_of(sizes);
    keys = sort_keys(tensors, network, label);
    if (keys.modules.empty()) {
      tell_foreign(keys, description);
      return description;
    }
    if (fits(sizes, keys, network)) return description;
  }
  // A fault of the file itself is the same for all; what does not fit is told of the network that it is nearest to.
  if (const auto sizes = measured(keys, tensors)) {
    if (!by_width.contains(sizes->width)) {
      const StoredTensors network = network_of(*sizes);
      if (fits(*sizes, sort_keys(tensors, network, label), network)) return description;
    }
    const ModelError& own = by_width.at(sizes->width);
    if (!is_published(sizes->width) && own.text != first->text)
      throw ModelError(label,
                       "must be as wide as a published model (Wan 2.2 14B is 5120 wide, 5B 3072, 1.3B 1536), is " +
                           std::to_string(sizes->width) +
                           " wide, and does not fit a network of that width either; do not use this file");
    throw own;
  }
  throw *first;
}

}  // namespace wan::lora
