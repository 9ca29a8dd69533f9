#include "models/weights/load_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>

#include "models/files/error.h"

namespace wan {
namespace {

bool in_row_order(const StoredTensor& tensor) {
  if (tensor.coding) return true;
  const std::vector<int64_t> wanted = row_major_strides(tensor.shape);
  for (size_t i = 0; i < wanted.size(); ++i)
    if (tensor.shape[i] != 1 && tensor.strides[i] != wanted[i]) return false;
  return true;
}

/// Of what lies in the file: bytes for a coded tensor.
at::ScalarType dtype_of(const StoredTensor& tensor) {
  return tensor.coding ? at::kByte : tensor.dtype;
}

/// From the first to the last element, in bytes: a view may leave some out or have some twice.
uint64_t extent(const StoredTensor& tensor) {
  if (tensor.coding || tensor.elements() == 0) return tensor.bytes();
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return uint64_t(last + 1) * c10::elementSize(tensor.dtype);
}

[[noreturn]] void misfit(const TensorLoad& load, const std::string& wanted, const std::string& came) {
  throw std::invalid_argument("[" + printable(load.name) + "] must be loaded into " + wanted + ", got " + came);
}

void check(const TensorLoad& load) {
  if (!load.from.file) misfit(load, "memory from a file", "a tensor without a file");
  const int64_t count = load.from.coding ? int64_t(load.from.bytes()) : load.from.elements();
  if (load.take) {
    if (load.group < 1 || count % load.group != 0)
      misfit(load, "whole groups of " + std::to_string(count) + " elements", "groups of " + std::to_string(load.group));
    return;
  }
  if (!load.to.defined() || !load.to.is_contiguous()) misfit(load, "a contiguous tensor", "another");
  if (load.to.numel() != count) misfit(load, std::to_string(count) + " elements", std::to_string(load.to.numel()));
  if (load.from.coding && load.to.element_size() != 1) misfit(load, "bytes", c10::toString(load.to.scalar_type()));
}

/// Elements of one piece, in the ring's memory or, where that is not aligned to them, in `aligned`.
at::Tensor elements_of(const RingPiece& piece, at::ScalarType dtype, at::Tensor& aligned) {
  const auto count = int64_t(piece.size / c10::elementSize(dtype));
  const at::TensorOptions options = at::TensorOptions().dtype(dtype);
  if (reinterpret_cast<uintptr_t>(piece.data) % c10::elementSize(dtype) == 0)
    return at::from_blob(const_cast<char*>(piece.data), {count}, options);
  aligned = at::empty({count}, options);
  std::memcpy(aligned.mutable_data_ptr(), piece.data, piece.size);
  return aligned;
}

/// Nothing goes on behind the caller's back. What was thrown first is what the caller is told: not that of the copies.
void finish_after_failure(PieceCopier& copier) {
  try {
    copier.finish();
  } catch (...) {
  }
}

class Loading {
 public:
  Loading(const std::vector<TensorLoad>& loads, const LoadOptions& options) : loads_(loads), options_(options) {
    for (const TensorLoad& load : loads) {
      check(load);
      const int64_t count = load.from.elements();
      if (count > 0) order_.push_back(&load);
      counts.bytes += count > 0 ? extent(load.from) : 0;
    }
    // File by file in the order of their paths, so that equal requests read alike.
    const auto place = [](const TensorLoad* load) {
      return std::pair<const std::filesystem::path&, uint64_t>(load->from.file->path(), load->from.offset);
    };
    std::stable_sort(order_.begin(), order_.end(),
                     [&](const TensorLoad* a, const TensorLoad* b) { return place(a) < place(b); });
    for (const TensorLoad* load : order_) add(*load);
  }

  void run() {
    const std::unique_ptr<PieceCopier> own = options_.copier ? nullptr : host_copier();
    PieceCopier& copier = options_.copier ? *options_.copier : *own;
    ReadRing ring(files_, ranges_, options_.ring);
    try {
      while (const std::optional<RingPiece> piece = ring.next()) take(*piece, copier);
    } catch (...) {
      finish_after_failure(copier);
      throw;
    }
    copier.finish();
    counts.direct = ring.counts().direct;
    counts.buffered = ring.counts().buffered;
    counts.refused_files = ring.counts().refused;
    counts.refused_buffers = ring.refused_buffers();
  }

  LoadCounts counts;

 private:
  void add(const TensorLoad& load) {
    const std::shared_ptr<const MappedFile>& file = load.from.file;
    if (files_.empty() || files_.back().path != file->path()) {
      files_.push_back({file->path(), file->bytes().size()});
      if (options_.open)
        if (const auto open = options_.open->find(file->path()); open != options_.open->end())
          files_.back().open = open->second;
    }
    const uint64_t element = c10::elementSize(dtype_of(load.from));
    const uint64_t group = load.take && in_row_order(load.from) ? uint64_t(load.group) : 1;
    ranges_.push_back({files_.size() - 1, load.from.offset, extent(load.from), element * group});
  }

  void take(const RingPiece& piece, PieceCopier& copier) {
    const TensorLoad& load = *order_[piece.range];
    const at::ScalarType dtype = dtype_of(load.from);
    if (!in_row_order(load.from)) {
      reorder(load, piece, copier);
      return;
    }
    at::Tensor aligned;
    const at::Tensor elements = elements_of(piece, dtype, aligned);
    const std::shared_ptr<const void> lease =
        aligned.defined() ? std::make_shared<const at::Tensor>(aligned) : piece.lease;
    const auto first = int64_t(piece.at / c10::elementSize(dtype));
    if (load.take) {
      load.take(first, copier.moved(elements, lease));
      return;
    }
    const at::Tensor to = load.to.view({-1}).narrow(0, first, elements.numel());
    copier.copy(elements, load.from.coding ? to.view(at::kByte) : to, lease);
  }

  /// Gathers the whole extent, and hands it on in the order of rows once it is whole.
  void reorder(const TensorLoad& load, const RingPiece& piece, PieceCopier& copier) {
    const uint64_t size = extent(load.from);
    if (piece.at == 0)
      gathered_ = at::empty({int64_t(size / c10::elementSize(load.from.dtype))}, at::TensorOptions(load.from.dtype));
    std::memcpy(static_cast<char*>(gathered_.mutable_data_ptr()) + piece.at, piece.data, piece.size);
    if (piece.at + piece.size < size) return;
    const auto rows = std::make_shared<const at::Tensor>(
        gathered_.as_strided(load.from.shape, load.from.strides).contiguous().view({-1}));
    gathered_.reset();
    if (load.take)
      load.take(0, copier.moved(*rows, rows));
    else
      copier.copy(*rows, load.to.view({-1}), rows);
  }

  const std::vector<TensorLoad>& loads_;
  const LoadOptions& options_;
  std::vector<const TensorLoad*> order_;  // that of ranges_
  std::vector<RingFile> files_;
  std::vector<FileRange> ranges_;
  at::Tensor gathered_;
};

}  // namespace

LoadCounts load_tensors(const std::vector<TensorLoad>& loads, const LoadOptions& options) {
  Loading loading(loads, options);
  loading.run();
  return loading.counts;
}

std::map<std::filesystem::path, FileState> states_of(const Checkpoint& checkpoint) {
  std::map<std::filesystem::path, FileState> states;
  for (const auto& file : checkpoint.files()) {
    const FileState state = state_of(file->path());
    if (state.size != file->bytes().size())
      throw ModelError(file->path().string(), "must stay as it was when its header was read: had " +
                                                  std::to_string(file->bytes().size()) + " bytes, has " +
                                                  std::to_string(state.size) + "; start again once it is whole");
    states[file->path()] = state;
  }
  return states;
}

}  // namespace wan
