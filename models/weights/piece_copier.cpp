#include "models/weights/piece_copier.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace wan {
namespace {

class HostCopier : public PieceCopier {
 public:
  // On this thread alone: the readers need the cores, and threads that wait for each other at every piece lose more time
  // than they save.
  void copy(const at::Tensor& piece, const at::Tensor& to, const std::shared_ptr<const void>&) override {
    constexpr int64_t kAlone = 16 << 10;  // elements, below which ATen starts no threads
    if (piece.scalar_type() == to.scalar_type()) {
      std::memcpy(to.mutable_data_ptr(), piece.const_data_ptr(), piece.nbytes());
      return;
    }
    for (int64_t first = 0; first < piece.numel(); first += kAlone) {
      const int64_t count = std::min(kAlone, piece.numel() - first);
      to.narrow(0, first, count).copy_(piece.narrow(0, first, count));
    }
  }
  at::Tensor moved(const at::Tensor& piece, const std::shared_ptr<const void>&) override { return piece; }
  void finish() override {}
};

Mark event_of_current_stream(at::Device device) {
  const c10::impl::VirtualGuardImpl guard(device.type());
  const auto event = std::make_shared<c10::Event>(device.type());
  event->record(guard.getStream(device));
  return [event](bool wait) {
    if (wait) event->synchronize();
    return wait || event->query();
  };
}

class DeviceCopier : public PieceCopier {
 public:
  DeviceCopier(at::Device device, size_t most_leases, std::function<Mark()> mark)
      : device_(device), most_(std::max<size_t>(most_leases, 1)), mark_(std::move(mark)) {
    if (!mark_) mark_ = [device] { return event_of_current_stream(device); };
  }
  // Memory that a copy still reads must not be given back. Where the device fails, nothing is copied any more, and whoever
  // asks it next is told.
  ~DeviceCopier() override {
    try {
      finish();
    } catch (...) {
    }
  }

  void copy(const at::Tensor& piece, const at::Tensor& to, const std::shared_ptr<const void>& lease) override {
    const bool converts = piece.scalar_type() != to.scalar_type();
    to.copy_(converts ? on_device(piece) : piece, /*non_blocking=*/true);
    hold(lease);
  }

  at::Tensor moved(const at::Tensor& piece, const std::shared_ptr<const void>& lease) override {
    const at::Tensor there = on_device(piece);
    hold(lease);
    return there;
  }

  void finish() override {
    while (!held_.empty()) release_first();
  }

 private:
  struct Held {
    std::shared_ptr<const void> lease;
    Mark mark;
  };

  at::Tensor on_device(const at::Tensor& piece) const {
    const at::Tensor there = at::empty(piece.sizes(), piece.options().device(device_));
    return there.copy_(piece, /*non_blocking=*/true);
  }

  void release_first() {
    held_.front().mark(/*wait=*/true);
    held_.pop_front();
  }

  /// Pieces of one buffer come one after another and share a lease: the mark of the last is that of all.
  void hold(const std::shared_ptr<const void>& lease) {
    if (!held_.empty() && held_.back().lease == lease)
      held_.back().mark = mark_();
    else
      held_.push_back({lease, mark_()});
    while (!held_.empty() && held_.front().mark(/*wait=*/false)) held_.pop_front();
    while (held_.size() > most_) release_first();
  }

  at::Device device_;
  size_t most_;
  std::function<Mark()> mark_;
  std::deque<Held> held_;
};

}  // namespace

std::unique_ptr<PieceCopier> host_copier() {
  return std::make_unique<HostCopier>();
}

std::unique_ptr<PieceCopier> device_copier(at::Device device, size_t most_leases, std::function<Mark()> mark) {
  return std::make_unique<DeviceCopier>(device, most_leases, std::move(mark));
}

}  // namespace wan
