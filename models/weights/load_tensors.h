// Tensors of checkpoint files to where they are needed: read by a ring (models/files/read_ring.h), converted there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/files/read_ring.h"
#include "models/weights/checkpoint.h"
#include "models/weights/piece_copier.h"
#include "models/weights/stored_tensor.h"

namespace wan {

/// Takes elements [first, first + piece.numel()) of a tensor in the order of its rows: flat, in the file's dtype, bytes of a
/// coded one. On the copier's device; valid during the call, unless it is a copy.
using TakePiece = std::function<void(int64_t first, const at::Tensor& piece)>;

/// One tensor of a file and where it goes: `to`, or what `take` makes of its pieces (8-bit rows, say).
struct TensorLoad {
  std::string name;  // for messages
  StoredTensor from;
  /// Contiguous, with as many elements, in any dtype: the values are those of Checkpoint::map, converted. Of a coded tensor:
  /// as many bytes, in a dtype of one byte: they come as they lie. Scales are tensors of their own (StoredScales::blocks).
  at::Tensor to = {};
  TakePiece take = {};
  int64_t group = 1;  // elements (of coded ones: bytes) that `take` wants together: those of a row
};

/// Files by their paths that are open already (models/weights/weight_files.h).
using OpenFiles = std::map<std::filesystem::path, std::shared_ptr<SourceFile>>;

struct LoadOptions {
  RingOptions ring = {};
  /// Read in place of opening them anew.
  const OpenFiles* open = nullptr;
  /// host_copier() where null. What it holds leases of must be fewer buffers than the ring has.
  PieceCopier* copier = nullptr;
};

struct LoadCounts {
  uint64_t bytes = 0;                 // of the tensors in their files
  uint64_t direct = 0, buffered = 0;  // bytes that were read past the page cache and through it
  uint64_t refused_files = 0;         // which the file system does not read past it
  int refused_buffers = 0;            // which are not in the memory that was asked for
};

/// Reads all of them once, file by file and as they lie there; `loads` in whatever order. In host memory there is, beside
/// the destinations, the ring alone; a tensor whose elements lie in another order than its rows (some torch files) is held
/// once as a whole. When it returns all of it is there. Throws ModelError for files that are gone, were cut or cannot be
/// read, std::invalid_argument for a destination that does not fit, and what RingOptions::check throws; destinations then
/// hold anything.
LoadCounts load_tensors(const std::vector<TensorLoad>& loads, const LoadOptions& options = {});

/// Of the files of a checkpoint, to be taken right after it was opened. Throws ModelError where one has changed its size
/// since.
std::map<std::filesystem::path, FileState> states_of(const Checkpoint& checkpoint);

}  // namespace wan
