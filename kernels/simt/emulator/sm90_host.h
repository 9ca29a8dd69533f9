// Emulation of Hopper's asynchronous instructions for the tests. In the order Forward a copy lands when its barrier is
// waited for, so that what is read too early shows; in the others it lands at once, a product reads and writes only
// when its group is waited for, and in Reverse who arrives at a barrier lets the others go ahead: what is overwritten
// too early, or looked at before its wait, shows. Products are computed warp by warp, as their results are waited for;
// sums of floating-point products in double, where the hardware keeps fewer bits.
#pragma once

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/op/fragments.h"
#include "kernels/simt/sm90.h"

namespace wan::simt::sm90 {

using Place = std::source_location;

/// Where dynamic shared memory begins: not at a multiple of the swizzles' 1024 bytes, which nothing promises.
constexpr uint32_t kSharedBegin = 1024 + 128;

inline uint32_t address_of(const void* shared) {
  const Block& block = running_block();
  const auto offset = static_cast<const unsigned char*>(shared) - running_block().dynamic_shared();
  if (offset < 0 || size_t(offset) >= block.dynamic_bytes())
    throw std::logic_error("[simt] an address outside of the dynamic shared memory");
  return kSharedBegin + uint32_t(offset);
}
inline unsigned char* pointer_to(uint32_t address, int bytes) {
  if (address < kSharedBegin || address + bytes > kSharedBegin + running_block().dynamic_bytes())
    throw std::logic_error("[simt] a descriptor reaches outside of the dynamic shared memory");
  return running_block().dynamic_shared() + (address - kSharedBegin);
}

/// The place that a swizzle gives to the byte at this address: bits of the row are added to those of the chunk.
inline uint32_t swizzled_address(uint32_t address, Swizzle swizzle) {
  const uint32_t mask = swizzle == Swizzle::Bytes128 ? 7 : 3;
  return address ^ (address >> 7 & mask) << 4;
}

// --- barriers

/// A barrier's eight bytes.
struct BarrierState {
  int16_t arrivals, missing;  // of a phase; of this phase
  int32_t bytes : 31;         // still under way
  uint32_t phase : 1;

  static BarrierState& of(uint64_t* barrier) {
    auto& state = *reinterpret_cast<BarrierState*>(barrier);
    if (state.arrivals <= 0) throw std::logic_error("[simt] a barrier is used before barrier_init");
    return state;
  }
  void end_phase_if_complete() {
    if (missing < 0) throw std::logic_error("[simt] more arrivals at a barrier than it counts");
    if (missing > 0 || bytes != 0) return;
    missing = arrivals;
    phase ^= 1;
  }
};
static_assert(sizeof(BarrierState) == sizeof(uint64_t));

inline void barrier_init(uint64_t* barrier, int arrivals) {
  const BarrierState state = {int16_t(arrivals), int16_t(arrivals), 0, 0};
  std::memcpy(barrier, &state, sizeof state);
}
inline void barrier_init_fence() {}
inline void barrier_arrive(uint64_t* barrier, Place place = Place::current()) {
  BarrierState& state = BarrierState::of(barrier);
  --state.missing;
  state.end_phase_if_complete();
  if (running_block().order() == Order::Reverse) running_block().pause(place);
}
inline void barrier_expect(uint64_t* barrier, int bytes) {
  BarrierState& state = BarrierState::of(barrier);
  state.bytes += bytes;
  --state.missing;
  state.end_phase_if_complete();
}

/// Lets the copies that this barrier counts land.
inline void land_transfers(const void* barrier) {
  std::vector<PendingTransfer>& all = running_block().transfers();
  const auto own = std::stable_partition(all.begin(), all.end(),
                                         [&](const PendingTransfer& transfer) { return transfer.barrier != barrier; });
  const std::vector<PendingTransfer> landing(own, all.end());
  all.erase(own, all.end());
  for (const PendingTransfer& transfer : landing) transfer.perform();
}

inline void barrier_wait(uint64_t* barrier, int parity, Place place = Place::current()) {
  running_block().wait_for(
      [barrier, parity] {
        land_transfers(barrier);
        return BarrierState::of(barrier).phase != unsigned(parity);
      },
      "a barrier's phase", place);
}

/// The votes at one of the block's named barriers. Shared memory starts as bytes of 255.
struct WarpgroupVote {
  int32_t round, arrived, all, result;
};

inline bool all_of_warpgroup(bool mine, int barrier, Place place = Place::current()) {
  constexpr int kBarriers = 16;
  if (barrier < 1 || barrier >= kBarriers) throw std::logic_error("[simt] a named barrier is 1 to 15");
  auto& votes = shared_variable<WarpgroupVote[kBarriers]>([] {});
  WarpgroupVote& vote = votes[barrier];
  if (vote.round < 0) vote = {0, 0, 1, 0};
  const int32_t round = vote.round;
  vote.all &= int32_t(mine);
  if (++vote.arrived == kWarpgroup) {
    vote = {round + 1, 0, 1, vote.all};
  } else {
    // The next round ends only when this thread has come to it, too: the result stays until it is read.
    running_block().wait_for([&vote, round] { return vote.round != round; }, "a warpgroup's vote", place);
  }
  return vote.result != 0;
}

// --- the copy engine

static_assert(sizeof(TensorView) <= sizeof(TensorMap) && std::is_trivially_copyable_v<TensorView>);

/// Makes tensor maps for this emulation; holds views to the rules of the driver.
struct HostMaps {
  cudaError_t operator()(TensorMap& to, const TensorView& view) const {
    bool right = view.rank >= 2 && view.rank <= TensorView::kMaxRank &&
                 reinterpret_cast<uintptr_t>(view.data) % 16 == 0 && view.stride[0] == view.element_bytes &&
                 view.box[0] * view.element_bytes == swizzle_bytes(view.swizzle);
    for (int i = 0; i < view.rank; ++i) right = right && view.size[i] > 0 && view.box[i] > 0 && view.box[i] <= 256;
    for (int i = 1; i < view.rank; ++i)
      right = right && view.stride[i] % 16 == 0 && view.stride[i] < int64_t(1) << 40 &&
              view.stride[i] >= view.size[i - 1] * view.stride[i - 1] && view.stride[i] % view.stride[i - 1] == 0;
    if (!right) return cudaErrorInvalidValue;
    std::memcpy(&to, &view, sizeof view);
    return cudaSuccess;
  }
};

inline void prefetch_map(const TensorMap*) {}

/// Copies row by row of the box: its first dimension is a row of `swizzle` bytes.
inline void perform_copy(unsigned char* to, const TensorView& view, std::array<int, TensorView::kMaxRank> at) {
  const int row_bytes = view.box[0] * view.element_bytes;
  int rows = 1;
  for (int i = 1; i < view.rank; ++i) rows *= view.box[i];
  for (int row = 0; row < rows; ++row) {
    const auto* from = static_cast<const unsigned char*>(view.data);
    bool inside = true;
    for (int i = 1, rest = row; i < view.rank; rest /= view.box[i++]) {
      const int64_t index = at[size_t(i)] + rest % view.box[i];
      inside = inside && index >= 0 && index < view.size[i];
      from += index * view.stride[i];
    }
    for (int byte = 0; byte < row_bytes; ++byte) {
      const int64_t element = at[0] + byte / view.element_bytes;
      const uint32_t place = swizzled_address(address_of(to) + uint32_t(row * row_bytes + byte), view.swizzle);
      *pointer_to(place, 1) = inside && element >= 0 && element < view.size[0]
                                  ? from[element * view.element_bytes + byte % view.element_bytes]
                                  : 0;
    }
  }
}

template <int kRank>
void copy_box(void* to, const TensorMap* map, const int (&at)[kRank], uint64_t* barrier) {
  TensorView view;
  std::memcpy(&view, map, sizeof view);
  if (view.rank != kRank) throw std::logic_error("[simt] a box of another rank than its tensor");
  if (address_of(to) % (8 * swizzle_bytes(view.swizzle)) != 0)
    throw std::logic_error("[simt] a box must begin where its swizzle begins");
  int bytes = view.element_bytes;
  for (int i = 0; i < kRank; ++i) bytes *= view.box[i];
  pointer_to(address_of(to), bytes);
  std::array<int, TensorView::kMaxRank> begin{};
  std::copy(at, at + kRank, begin.begin());
  running_block().transfers().push_back({barrier, [=] {
                                           perform_copy(static_cast<unsigned char*>(to), view, begin);
                                           BarrierState& state = BarrierState::of(barrier);
                                           state.bytes -= bytes;
                                           state.end_phase_if_complete();
                                         }});
  if (running_block().order() != Order::Forward) land_transfers(barrier);
}

// --- products

template <int kRegisters>
void keep_registers() {}
template <int kRegisters>
void take_registers() {}
template <typename Accumulator, int kTiles>
void pin_registers(Accumulator (&)[kTiles][4]) {}

inline void products_fence() {
  running_block().fiber().products_fenced = true;
}

inline void products_commit(Place place = Place::current()) {
  running_block().fiber().products_fenced = false;
  int nothing = 0;
  warp_collective(
      "products_commit", nothing,
      [](auto&) {
        Fiber& warp = running_block().first_lane();
        warp.product_groups.push_back(std::move(warp.open_products));
        warp.open_products.clear();
      },
      place);
}

template <int kPending>
void products_wait(Place place = Place::current()) {
  int nothing = 0;
  warp_collective(
      "products_wait", nothing,
      [](auto&) {
        auto& groups = running_block().first_lane().product_groups;
        for (; groups.size() > size_t(kPending); groups.pop_front())
          for (const auto& product : groups.front()) product();
      },
      place);
}

/// One operand in shared memory as its descriptor says, element by element.
struct TileReader {
  uint32_t begin, leading, eight_rows;
  Swizzle swizzle;

  explicit TileReader(uint64_t descriptor)
      : begin(uint32_t(descriptor & 0x3fff) << 4),
        leading(uint32_t(descriptor >> 16 & 0x3fff) << 4),
        eight_rows(uint32_t(descriptor >> 32 & 0x3fff) << 4),
        swizzle(descriptor >> 62 == 1 ? Swizzle::Bytes128 : Swizzle::Bytes64) {
    if (descriptor >> 62 == 0 || descriptor >> 62 == 3) throw std::logic_error("[simt] a swizzle that is not emulated");
  }
  template <typename T>
  T at(uint32_t offset) const {
    T value;
    std::memcpy(&value, pointer_to(swizzled_address(begin + offset, swizzle), sizeof(T)), sizeof(T));
    return value;
  }
  /// Rows along the depth.
  template <typename T>
  T along_depth(int row, int depth) const {
    return at<T>(row / 8 * eight_rows + row % 8 * swizzle_bytes(swizzle) + depth * sizeof(T));
  }
  /// A row for each step of depth.
  template <typename T>
  T along_columns(int column, int depth) const {
    constexpr int kRowElements = 128 / int(sizeof(T));
    return at<T>(column / kRowElements * leading + column % kRowElements * sizeof(T) + depth / 8 * eight_rows +
                 depth % 8 * 128);
  }
};

/// What one lane brings to a product.
template <typename Accumulator>
struct ProductLane {
  Accumulator (*d)[4];
  const uint32_t* a_registers;  // or null: a_tile
  uint64_t a_tile, b_tile;
};

template <typename T>
auto number(T value) {
  if constexpr (std::is_integral_v<T>)
    return int32_t(value);
  else
    return double(to_float(value));
}

/// d (+)= a b for this warp's 16 rows. AMap: element of the registers -> place.
template <typename T, int kTiles, int kDepth, bool kTurned, bool kFresh, typename Accumulator, typename AMap>
void multiply(const char* name, const ProductLane<Accumulator>& own, AMap a_at, Place place) {
  if (!running_block().fiber().products_fenced)
    throw std::logic_error(std::string("[simt] ") + name + " without a products_fence before its group");
  ProductLane<Accumulator> lane = own;
  const int first_row = int(threadIdx.x % kWarpgroup) / kWarp * 16;
  auto combine = [=](std::array<ProductLane<Accumulator>*, 32>& lanes) {
    using Number = decltype(number(T{}));
    struct Operands {
      std::array<Accumulator (*)[4], 32> d;
      std::array<std::array<Number, kDepth>, 16> a;
    };
    auto operands = std::make_shared<Operands>();
    for (int i = 0; i < 32; ++i) {
      if (lanes[i]->b_tile != lanes[0]->b_tile || lanes[i]->a_tile != lanes[0]->a_tile)
        throw std::logic_error(std::string("[simt] ") + name + ": the lanes have different descriptors");
      operands->d[i] = lanes[i]->d;
      if (!lanes[i]->a_registers) continue;
      for (int element = 0; element < kDepth / 2; ++element) {
        T value;
        std::memcpy(&value, reinterpret_cast<const char*>(lanes[i]->a_registers) + element * sizeof(T), sizeof(T));
        const auto [row, depth] = a_at(i, element);
        operands->a[row][depth] = number(value);
      }
    }
    const bool from_shared = !lanes[0]->a_registers;
    const uint64_t a_tile = lanes[0]->a_tile, b_tile = lanes[0]->b_tile;
    auto product = [=] {
      if (from_shared) {
        const TileReader tile(a_tile);
        for (int row = 0; row < 16; ++row)
          for (int k = 0; k < kDepth; ++k)
            operands->a[row][k] = number(tile.template along_depth<T>(first_row + row, k));
      }
      const TileReader tile(b_tile);
      std::array<Number, kDepth> b;
      for (int column = 0; column < 8 * kTiles; ++column) {
        for (int k = 0; k < kDepth; ++k)
          b[k] = number(kTurned ? tile.template along_columns<T>(column, k) : tile.template along_depth<T>(column, k));
        for (int row = 0; row < 16; ++row) {
          // The inverse of c_16x8: who holds this element.
          const int lane = row % 8 * 4 + column % 8 / 2, element = row / 8 * 2 + column % 2;
          Accumulator& d = operands->d[lane][column / 8][element];
          Number sum = kFresh ? Number(0) : Number(d);
          for (int k = 0; k < kDepth; ++k) sum += operands->a[row][k] * b[k];
          d = Accumulator(sum);
        }
      }
    };
    if (running_block().order() == Order::Forward)
      product();
    else
      running_block().first_lane().open_products.push_back(product);
  };
  warp_collective(name, lane, combine, place);
}

inline void multiply_64x256x32_s8(int32_t (&d)[32][4], uint64_t a, uint64_t b, Place place = Place::current()) {
  multiply<int8_t, 32, 32, false, false, int32_t>("multiply_64x256x32_s8", {d, nullptr, a, b},
                                                  kernels::fragments::a_16x32, place);
}
inline void multiply_64x128x32_s8(int32_t (&d)[16][4], uint64_t a, uint64_t b, Place place = Place::current()) {
  multiply<int8_t, 16, 32, false, false, int32_t>("multiply_64x128x32_s8", {d, nullptr, a, b},
                                                  kernels::fragments::a_16x32, place);
}
template <typename T, bool kFresh>
void multiply_64x128x16(float (&d)[16][4], uint64_t a, uint64_t b, Place place = Place::current()) {
  multiply<T, 16, 16, false, kFresh, float>("multiply_64x128x16", {d, nullptr, a, b}, kernels::fragments::a_16x16,
                                            place);
}
template <typename T>
void multiply_64x128x16_turned(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b, Place place = Place::current()) {
  multiply<T, 16, 16, true, false, float>("multiply_64x128x16_turned", {d, a, 0, b}, kernels::fragments::a_16x16,
                                          place);
}
template <bool kFresh>
void multiply_64x128x32_e4m3(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b, Place place = Place::current()) {
  multiply<e4m3, 16, 32, false, kFresh, float>("multiply_64x128x32_e4m3", {d, a, 0, b}, kernels::fragments::a_16x32,
                                               place);
}

}  // namespace wan::simt::sm90
