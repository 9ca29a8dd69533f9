// Copies to a GPU: a stream of their own, and pinned memory in between where the host's is pageable.
#include "kernels/op/built.h"
#include "models/weights/copier.h"

#ifdef WAN_CUDA_KERNELS

#include <ATen/ATen.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace wan {
namespace {

using Event = c10::cuda::CUDAEvent;

constexpr size_t kPieces = 4, kPieceBytes = 16 << 20;

/// This thread's device for a while: pinned memory is taken in the driver's context of one, and would make one on the
/// first card, too. Throws nothing: memory is also freed after a device was lost.
struct OnDevice {
  explicit OnDevice(at::Device device) {
    (void)cudaGetDevice(&before);
    (void)cudaSetDevice(device.index());
  }
  ~OnDevice() { (void)cudaSetDevice(before); }
  OnDevice(const OnDevice&) = delete;
  int before = 0;
};

/// Pinned memory, or null where the system refuses it. Freed with the last pointer.
std::shared_ptr<char> pinned(at::Device device, size_t bytes) {
  const OnDevice here(device);
  void* memory = nullptr;
  if (cudaHostAlloc(&memory, std::max<size_t>(bytes, 1), cudaHostAllocPortable) != cudaSuccess) {
    (void)cudaGetLastError();  // it is no failure of what comes next
    return nullptr;
  }
  return std::shared_ptr<char>(static_cast<char*>(memory), [device](char* pointer) {
    const OnDevice there(device);
    (void)cudaFreeHost(pointer);
  });
}

class CudaCopyEngine : public CopyEngine {
 public:
  CudaCopyEngine(at::Device device, std::function<void(const std::string&)> tell)
      : device_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
        tell_(std::move(tell)) {}

  ~CudaCopyEngine() override { (void)cudaStreamSynchronize(stream_.stream()); }

  Moment now() override { return recorded(c10::cuda::getCurrentCUDAStream(device_.index())); }

  void wait_for(const Moment& moment) override {
    if (moment) static_cast<Event*>(moment.get())->block(c10::cuda::getCurrentCUDAStream(device_.index()));
  }

  void begin(const Moment& moment) override {
    C10_CUDA_CHECK(cudaSetDevice(device_.index()));
    c10::cuda::setCurrentCUDAStream(stream_);  // of this thread: conversions go behind their copies
    if (moment) static_cast<Event*>(moment.get())->block(stream_);
  }

  void copy(const Tensor& from, const Tensor& to) override {
    TORCH_CHECK(from.nbytes() == to.nbytes() && from.is_contiguous() && to.is_contiguous() && to.device() == device_,
                "[copy] must fill as many contiguous bytes on ", device_, ", got ", from.nbytes(), " for ",
                to.nbytes());
    const char* source = static_cast<const char*>(from.const_data_ptr());
    char* target = static_cast<char*>(to.mutable_data_ptr());
    if (is_pinned(source) || !has_pieces()) return queue(target, source, from.nbytes());
    for (size_t start = 0; start < from.nbytes(); start += kPieceBytes) {
      const size_t bytes = std::min(kPieceBytes, from.nbytes() - start);
      Piece& piece = pieces_[next_++ % kPieces];
      if (piece.left) piece.left->synchronize();
      std::memcpy(piece.memory.get(), source + start, bytes);
      queue(target + start, piece.memory.get(), bytes);
      piece.left.emplace(cudaEventDisableTiming);
      piece.left->record(stream_);
    }
  }

  Moment end() override { return recorded(stream_); }

  Tensor kept(const Tensor& tensor) override {
    if (refused_) return tensor;
    const std::shared_ptr<char> memory = pinned(device_, tensor.nbytes());
    if (!memory) {
      refuse();
      return tensor;
    }
    std::memcpy(memory.get(), tensor.const_data_ptr(), tensor.nbytes());
    return at::from_blob(
        memory.get(), tensor.sizes(), [memory](void*) {}, tensor.options());
  }

  std::unique_ptr<PieceCopier> pieces(size_t most_leases) override { return device_copier(device_, most_leases); }

  std::shared_ptr<char> ring_memory(size_t bytes) override {
    std::shared_ptr<char> memory = refused_ ? nullptr : ring_.take(bytes);
    if (!memory && !refused_) refuse();
    return memory;
  }

 private:
  struct Piece {
    std::shared_ptr<char> memory;
    std::optional<Event> left;  // when the device has read it
  };

  static Moment recorded(const c10::cuda::CUDAStream& stream) {
    const auto event = std::make_shared<Event>(cudaEventDisableTiming);
    event->record(stream);
    return event;
  }

  static bool is_pinned(const void* pointer) {
    cudaPointerAttributes found{};
    if (cudaPointerGetAttributes(&found, pointer) == cudaSuccess) return found.type == cudaMemoryTypeHost;
    (void)cudaGetLastError();
    return false;
  }

  bool has_pieces() {
    if (refused_) return false;
    for (Piece& piece : pieces_)
      if (!piece.memory && !(piece.memory = pinned(device_, kPieceBytes))) {
        refuse();
        return false;
      }
    return true;
  }

  void refuse() {
    refused_ = true;
    for (Piece& piece : pieces_)
      if (piece.left) piece.left->synchronize();
    for (Piece& piece : pieces_) piece = {};
    if (tell_) tell_("the system pins no memory: weights are copied from pageable memory, which is slower");
  }

  /// From pageable memory it returns once the driver has taken the bytes.
  void queue(char* target, const char* source, size_t bytes) {
    C10_CUDA_CHECK(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, stream_.stream()));
  }

  const at::Device device_;
  const c10::cuda::CUDAStream stream_;
  const std::function<void(const std::string&)> tell_;
  RingMemory ring_{[device = device_](size_t bytes) { return pinned(device, bytes); }};
  std::array<Piece, kPieces> pieces_;
  size_t next_ = 0;
  bool refused_ = false;
};

}  // namespace

std::unique_ptr<CopyEngine> cuda_copy_engine(at::Device device, std::function<void(const std::string&)> tell) {
  return std::make_unique<CudaCopyEngine>(device, std::move(tell));
}

}  // namespace wan

#else  // a build without kernels, for cards below sm_80 say, links no CUDA runtime

namespace wan {

std::unique_ptr<CopyEngine> cuda_copy_engine(at::Device device, std::function<void(const std::string&)>) {
  return library_copy_engine(device);
}

}  // namespace wan

#endif
