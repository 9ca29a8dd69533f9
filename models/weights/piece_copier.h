// Copies pieces of a ring's memory to where weights lie, and says when that memory may be read into again.
#pragma once

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <memory>

#include "models/files/read_ring.h"

namespace wan {

/// Takes pieces in order. `lease` of each is let go once the piece's memory is not needed any more. For one thread.
class PieceCopier {
 public:
  virtual ~PieceCopier() = default;
  /// Writes `piece` into `to`, converted where `to` lies. Both flat, contiguous and of equal length; `piece` in host memory.
  virtual void copy(const at::Tensor& piece, const at::Tensor& to, const std::shared_ptr<const void>& lease) = 0;
  /// The piece on the copier's device in its own dtype, as what `lease` keeps or as a copy.
  virtual at::Tensor moved(const at::Tensor& piece, const std::shared_ptr<const void>& lease) = 0;
  /// Waits until all of it is there and no lease is held.
  virtual void finish() = 0;
};

/// For host memory: what is returned has been done.
std::unique_ptr<PieceCopier> host_copier();

/// Says whether the copies that were queued before it was made have ended, and waits for them where it is told to.
using Mark = std::function<bool(bool wait)>;

/// For a device that copies while the host goes on: pieces go over as they are, on the stream that is current there, and are
/// converted behind it. Leases of at most `most_leases` buffers are held. `mark`: of the work queued so far; an event of the
/// current stream where it is empty.
std::unique_ptr<PieceCopier> device_copier(at::Device device, size_t most_leases, std::function<Mark()> mark = {});

}  // namespace wan
