// What the memory of one block is filled with, and how it comes from its files.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "models/weights/copier.h"
#include "models/weights/host_room.h"
#include "models/weights/weight.h"
#include "models/weights/weight_files.h"

namespace wan {

/// Host memory in which the tensors of one weight are whole while codes are made of them. Blocks of a network share it, one
/// weight after another; for one thread.
class Staging {
 public:
  /// Room for the tensors of the largest of these weights: addresses, without memory until something is written there.
  Staging(const std::vector<Weight>& weights, const Checkpoint& file);
  /// Memory like that of each part that is a view of its file, in place of it.
  std::vector<StoredPart> hold(const Weight& weight, const Checkpoint& file, std::vector<StoredPart> parts) const;
  /// Gives the memory back; what it holds is lost.
  void release();

 private:
  uint64_t bytes_ = 0;
  std::shared_ptr<char> memory_;
};

/// Of one block. The copier's thread alone calls copy_to().
class BlockImage {
 public:
  /// `keeps`: it is copied again and again. Then what has to be made is kept in host memory where `room` has some, and what
  /// the file has stays in the page cache.
  BlockImage(std::shared_ptr<WeightFiles> files, std::shared_ptr<Staging> staging, std::shared_ptr<HostRoom> room,
             bool keeps);
  ~BlockImage();
  BlockImage(const BlockImage&) = delete;

  /// A weight of the block that was only planned; its number. Throws ModelError for scales that are not finite.
  size_t add(Weight& weight, const Checkpoint& file);
  /// Where its tensors begin in the block's memory, in bytes.
  void lies_at(size_t weight, const std::vector<uint64_t>& starts);

  /// Fills `region` [n] uint8 on the device. Throws ModelError where a file is cut, changed or cannot be read, and
  /// std::runtime_error once it is to stop.
  void copy_to(const at::Tensor& region, CopyEngine& engine, Copied& done);
  /// Whether copy_to() is to end soon: its bytes are not needed any more. By any thread.
  void set_stopped(bool stopped) { stopped_ = stopped; }

  /// Of host memory that it keeps.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Part;
  struct Source;
  struct Loads;

  /// What comes straight from the files, to the device or to what is kept.
  void load_direct(const at::Tensor& region, CopyEngine& engine);
  void keep(Part& part, std::vector<at::Tensor> tensors, CopyEngine& engine);
  void copy_staged(Source& source, const at::Tensor& region, CopyEngine& engine);

  std::vector<std::unique_ptr<Source>> sources_;
  std::shared_ptr<WeightFiles> files_;
  std::shared_ptr<Staging> staging_;
  std::shared_ptr<HostRoom> room_;
  bool keeps_;
  std::atomic<uint64_t> bytes_ = 0, pinned_ = 0;
  std::atomic<bool> stopped_ = false;
};

}  // namespace wan
