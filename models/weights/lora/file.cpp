#include "models/weights/lora/file.h"

#include <c10/util/accumulate.h>

#include <functional>
#include <numeric>

#include "models/files/error.h"
#include "models/weights/format/format.h"
#include "models/weights/format/safetensors.h"
#include "models/weights/lora/adapter.h"
#include "models/weights/lora/differences.h"
#include "models/weights/lora/keys.h"

namespace wan::lora {

int64_t Difference::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
}

std::vector<int64_t> FactorSizes::widths() const {
  return is_product() ? std::vector<int64_t>{columns, rank, rows} : std::vector<int64_t>{columns, rows};
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::LowRank:
      return "LoRA";
    case Kind::Hadamard:
      return "LoHa";
    case Kind::Kronecker:
      return "LoKr";
    case Kind::Full:
      return "difference";
  }
  return "";
}

File File::open(const std::filesystem::path& path, const StoredTensors& network, const Options& options) {
  const auto mapped = MappedFile::open(path);
  File file;
  StoredTensors all = read_tensors(mapped);
  if (options.half)
    all = half_of(std::move(all), *options.half);
  else if (halves_of(all).both())
    throw ModelError(path.string(),
                     "must be for one expert, has parts for both (transformer. and transformer_2.); name a "
                     "network with high or low in its name");
  file.checkpoint_ = Checkpoint::names_only(std::move(all), path.string());
  if (format_of(*mapped) == &kSafetensors) file.metadata_ = read_safetensors_metadata(mapped);
  const StoredTensors& tensors = file.checkpoint_.tensors();
  SortedKeys keys = sort_keys(tensors, network, file.label());
  check_keys(keys, options.lax, file.label());
  file.differences_ =
      make_differences(keys, tensors, network, AdapterMetadata::of(file.metadata_, file.label()), file.label());
  file.exempt_ = std::move(keys.exempt);
  file.unknown_ = std::move(keys.unknown);
  file.dialect_ = std::move(keys.dialect);
  return file;
}

}  // namespace wan::lora
