// The files of a network that is filled from them, held open: who takes their names later does not matter.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "models/files/read_ring.h"
#include "models/weights/checkpoint.h"
#include "models/weights/load_tensors.h"
#include "models/weights/stored_part.h"

namespace wan {

class WeightFiles {
 public:
  /// Opens the files. Throws ModelError for one that is gone, or has another size than when its header was read.
  explicit WeightFiles(const Checkpoint& checkpoint);
  WeightFiles(const WeightFiles&) = delete;

  /// Asked while the computing thread reads, or waits for a thread that does; it may throw to stop.
  void ask(std::function<void()> check) { check_ = std::move(check); }
  void check() const {
    if (check_) check_();
  }

  /// load_tensors, from the open files. `caching`: Pass or Keep. `memory`: RingOptions::take_memory. May be called by several
  /// threads; ends soon after `stop` became true. Throws as load_tensors, and std::runtime_error where it was stopped.
  void load(const std::vector<TensorLoad>& loads, PieceCopier& copier, Caching caching, TakeMemory memory,
            const std::atomic<bool>& stop);

  /// `part`, which stored_part made of the tensor `name`, in ordinary memory in place of the mapping, rows in order. What is
  /// no view of the file stays as it is. For the computing thread. Throws as load_tensors, and what check() throws.
  StoredPart read(const Checkpoint& checkpoint, const std::string& name, const StoredPart& part);

 private:
  void load(const std::vector<TensorLoad>& loads, PieceCopier& copier, Caching caching, TakeMemory memory,
            std::function<void()> check);

  OpenFiles pass_, keep_;
  RingMemory memory_;
  std::function<void()> check_;
};

/// The tensor of a checkpoint as the bytes of its codes where `part`, which stored_part made of it, is in codes; else itself.
StoredTensor as_loaded(const StoredTensor& stored, const StoredPart& part);
/// Memory like that of `part`, codes or values, whose rows lie in order.
at::Tensor& values_or_codes(StoredPart& part);
const at::Tensor& values_or_codes(const StoredPart& part);
/// Whether it is a view of the mapped file, and no copy of what lies there.
bool is_view(const StoredTensor& stored, const StoredPart& part);

}  // namespace wan
