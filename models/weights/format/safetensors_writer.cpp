// Writes safetensors files, in the form of the format's own library.
#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/files/atomic_file.h"
#include "models/weights/dtype.h"
#include "models/weights/format/safetensors.h"

namespace wan {

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const std::pair<const std::string, at::Tensor>*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->second.element_size() > b->second.element_size(); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t end = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    const std::string_view dtype = dtype_name(tensor.scalar_type());
    if (dtype == "?") throw std::runtime_error("[" + name + "] safetensors has no word for its dtype");
    const uint64_t begin = end;
    end += tensor.nbytes();
    header[name] = {{"dtype", dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();

  AtomicFile file(path.string());
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const auto* entry : order) {
    const at::Tensor here = entry->second.to(at::kCPU).contiguous();
    file.write(here.const_data_ptr(), here.nbytes());
  }
  file.commit();
}

}  // namespace wan
