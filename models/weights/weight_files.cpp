#include "models/weights/weight_files.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <stdexcept>

namespace wan {
namespace {

/// Whether reading takes so long that it is worth to be asked meanwhile: more than one buffer of the ring, which then
/// has threads of its own.
bool takes_long(const std::vector<TensorLoad>& loads) {
  uint64_t bytes = 0;
  for (const TensorLoad& load : loads) bytes += load.from.bytes();
  return bytes > RingOptions{}.buffer_bytes;
}

}  // namespace

WeightFiles::WeightFiles(const Checkpoint& checkpoint) {
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const std::shared_ptr<const MappedFile>& file = tensor.file;
    if (!file || pass_.contains(file->path())) continue;
    const auto pass =
        std::make_shared<SourceFile>(file->path(), file->bytes().size(), std::nullopt, Caching::Pass, pread);
    pass_[file->path()] = pass;
    keep_[file->path()] =
        std::make_shared<SourceFile>(file->path(), file->bytes().size(), pass->state(), Caching::Keep, pread);
  }
}

void WeightFiles::load(const std::vector<TensorLoad>& loads, PieceCopier& copier, Caching caching, TakeMemory memory,
                       std::function<void()> check) {
  if (loads.empty()) return;
  check();
  LoadOptions options;
  options.ring.take_memory = std::move(memory);
  if (takes_long(loads)) options.ring.check = std::move(check);
  options.copier = &copier;
  options.open = caching == Caching::Keep ? &keep_ : &pass_;
  load_tensors(loads, options);
}

void WeightFiles::load(const std::vector<TensorLoad>& loads, PieceCopier& copier, Caching caching, TakeMemory memory,
                       const std::atomic<bool>& stop) {
  const auto check = [&stop] {
    if (stop) throw std::runtime_error("[copy] was stopped");
  };
  load(loads, copier, caching, std::move(memory), std::function<void()>(check));
}

StoredPart WeightFiles::read(const Checkpoint& checkpoint, const std::string& name, const StoredPart& part) {
  const StoredTensor& stored = checkpoint.tensors().at(name);
  if (!is_view(stored, part)) return part;
  StoredPart own = part;
  at::Tensor& to = values_or_codes(own);
  to = at::empty(to.sizes(), to.options());
  load(
      {{.name = name, .from = as_loaded(stored, part), .to = to}}, *host_copier(), Caching::Pass,
      [this](size_t bytes) { return memory_.take(bytes); }, [this] { check(); });
  return own;
}

StoredTensor as_loaded(const StoredTensor& stored, const StoredPart& part) {
  if (!part.is_coded()) return stored;
  const std::vector<int64_t> shape = part.codes->codes.sizes().vec();
  return {.dtype = at::kByte,
          .shape = shape,
          .strides = row_major_strides(shape),
          .file = stored.file,
          .offset = stored.offset};
}

at::Tensor& values_or_codes(StoredPart& part) {
  return part.is_coded() ? part.codes->codes : part.values;
}

const at::Tensor& values_or_codes(const StoredPart& part) {
  return part.is_coded() ? part.codes->codes : part.values;
}

bool is_view(const StoredTensor& stored, const StoredPart& part) {
  // A coded tensor that is no matrix has been widened.
  return stored.file && stored.elements() > 0 && (part.is_coded() || !stored.coding);
}

}  // namespace wan
