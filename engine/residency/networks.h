// The networks of a model: loaded when they are first asked for, unloaded where others need the room.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/note.h"
#include "engine/residency/activations.h"
#include "engine/residency/builders.h"
#include "engine/residency/device.h"
#include "engine/residency/identity.h"
#include "engine/residency/lying.h"
#include "engine/residency/parts.h"
#include "engine/residency/placed_bytes.h"
#include "engine/residency/vae_tiles.h"
#include "models/files/read_ahead.h"
#include "models/weights/lora/attach.h"

namespace wan {

/// What the log says, once, where a transformer is loaded in another precision than the reference's.
inline constexpr const char* kUnmeasuredText =
    "8-bit arithmetic has not been measured on a GPU yet; --precision exact computes as the reference does";

/// Loads networks when they are first asked for. On the CPU all of them stay: they are mappings. On a device they all
/// stay where they fit beside the activations; else one at a time is there.
///
/// Under a budget (Placement::budget) everything that is on the device is counted: weights, and the activations of the
/// network that was asked for last. What stays and how a network lies is what the planner says (keep_for, lying_for):
/// both experts stay together where they have room. One that does not fit as a whole has some of its blocks streamed.
/// Where only one network at a time fits, the low-noise expert may take the place of the high-noise one block by block
/// (prefetch_low). What is free is asked again whenever another network is asked for, and for each job (look_again):
/// then fewer or more networks and blocks stay. None of it changes a result.
class Networks {
 public:
  using Keep = wan::Keep;
  Networks(ModelParts parts, const Placement& placement, Keep keep, Log log, const Activations& activations = {});
  /// Keeps what fits into what is free now.
  Networks(ModelParts parts, const Placement& placement, const Activations& activations, Log log);
  Networks(ModelParts parts, const Placement& placement, uint64_t working, Log log);
  ~Networks();

  const ModelParts& parts() const { return parts_; }
  const Placement& placement() const { return placement_; }

  /// Each throws ModelError where the files are not what the network needs; under a budget InvalidRequest where not
  /// even two blocks fit, and c10::OutOfMemoryError. A reference holds until another network is asked for.
  const Umt5Encoder& text_encoder();
  const WanModel& expert(bool high);
  const SpeechModel& speech();
  const Wav2Vec2& audio_encoder();
  const vae::Vae& vae();
  /// The VAE in float32 whatever the placement says. On CUDA the other networks make room for it and its wider caches.
  /// vae() stays as it was: what a clip is computed in must not depend on the clips before it.
  const vae::Vae& wide_vae();

  /// Puts LoRAs on a transformer that was just asked for, in place of those that it had, and takes away those of the
  /// other one: their branches are counted among the activations of a step. Its base weights are not touched. Throws
  /// ModelError.
  void adapt(Network network, const std::vector<lora::Adapter>& adapters);

  /// Before the last forward of the high-noise expert: the low-noise one is copied while that runs, into memory of its
  /// own or that of each block which is not needed again. Nothing without a budget, or where it has no room: that is
  /// asked again here.
  void prefetch_low();

  /// The network that comes behind the text encoder: its files are read ahead while that computes, as far as the host
  /// has room. Nothing without a budget.
  void expect(Network next) { next_ = next; }
  /// Asked while a network is brought in, also block by block, and while a copy for --cache-dir is written; it may
  /// throw to stop.
  void ask(std::function<void()> check) { check_ = std::move(check); }

  /// Other jobs come, with these activations: what stays on the device and how it lies is chosen anew by them.
  void plan_for(const Activations& activations);
  /// Whether a step of the ladder was taken (make_room): the networks lie worse than what is free would allow.
  bool has_given_up() const { return ran_out_; }
  /// Whether all transformers are loaded, and stay while other networks work.
  bool keeps_transformers() const;

  /// A stage of a job begins: the network that it asks for lies by what is free then, also where it is there already.
  void look_again();

  /// After c10::OutOfMemoryError: leaves less on the device, by the next step of a ladder, which is logged. False at
  /// its end. `first`: of a stage's attempts.
  bool make_room(bool first);
  /// Whether the VAE is to have its smallest windows: a step of the ladder.
  bool has_small_windows() const { return small_windows_; }
  /// What the job that comes next was settled to compute in (fit_of, VaeTiles).
  void take_tiles(const VaeTiles& tiles) { settled_tiles_ = tiles; }
  const VaeTiles& settled_tiles() const { return settled_tiles_; }
  /// Rows of the tiles in which the VAE computes in this dtype; 0: whole frames. Those that were settled; on a CPU
  /// under a budget tiles are also taken where whole frames have no room, and as a step of the ladder: they have the
  /// same bytes.
  int64_t vae_tile_rows(at::ScalarType dtype);
  /// What the VAE, which was asked for last, may take for its activations; and that it takes so much.
  uint64_t vae_room() const;
  void count_vae(uint64_t activations);

  /// How often an expert was brought in: a batch in phases needs each once.
  int64_t expert_loads() const { return expert_loads_; }
  /// Copies of blocks to the device so far.
  Copied copied() const { return copier_ ? copier_->copied() : Copied{}; }
  /// Drops a network that is not needed again.
  void drop(Network network);

 private:
  template <typename Model>
  struct Slot {
    std::unique_ptr<Model> model;
    DeviceBudget::Lease lease;  // of what lies outside of blocks
    std::vector<Weight> weights = {};
    std::vector<lora::Adapter> adapters = {};  // that are on them
  };
  template <typename Model>
  void adapt(Slot<Model>& slot, Network network, const std::vector<lora::Adapter>& adapters);

  /// What the network is loaded from: its files, or a copy in --cache-dir, which is written where it is not there.
  Checkpoint open(Network network);
  bool is_loaded(Network network) const;
  /// Reads the files of a network that comes next into the page cache, by a thread and behind all copies to the device
  /// that are queued, as far as the host has room: what images of blocks may take and do not. Nothing without a budget,
  /// for a network that is there, or twice.
  void read_ahead(Network network);
  void make_copier();

  template <typename Model, typename Build>
  const Model& get(Slot<Model>& slot, Network network, Build build);
  template <typename Model, typename Build>
  void load(Slot<Model>& slot, Network network, const Streaming* streaming, Build build);
  /// Of a placement with a budget as the planner has it; else all or one.
  Keep what_stays();
  const NetworkSizes& sizes_of(Network network);
  template <typename Model>
  bool is_wide(const Slot<Model>& slot) const {
    return static_cast<const void*>(&slot) == &wide_vae_;
  }
  uint64_t wide_vae_bytes() const;
  /// Memory for the blocks of a network that is about to be loaded; null for one without blocks. Throws InvalidRequest
  /// where it has no room.
  std::optional<Streaming> place(Network network);
  std::optional<Lying> lying_of(Network network, const NetworkSizes& sizes, uint64_t free);
  /// Activations that are counted while it works.
  uint64_t working_of(Network network);
  /// Of a VAE that may compute in both ways.
  bool chooses_tiles();
  /// How a network lies where so many bytes are free.
  struct Placed {
    NetworkSizes sizes;  // of both experts where they share their memory
    std::optional<Lying> lying;
    bool shares = false;
  };
  Placed placed_in(Network network, uint64_t free);
  /// Asks the budget again before this network works: how many networks stay follows from it.
  void look(Network network);
  /// Whether a network that is there, and takes `own` bytes, is to be placed anew: it has no room any more beside what
  /// it computes in, or there is room for a tenth of its blocks more.
  bool lies_otherwise(Network network, uint64_t own);
  /// " may be taken now, ..." with both numbers.
  std::string now_and_planned() const;
  /// What images of blocks may take of the host's memory from now on: as the planner counts, of what is available now.
  void share_host();
  [[noreturn]] void refuse(Network network);
  /// Under a budget: the activations of the last network go, and the networks that do not stay beside this one.
  void enter(Network network);
  void drop_others(Network network);
  /// Whether the other network is on the device, too, while this one works.
  bool stays_beside(Network network, Network other) const;
  void warn_of_precision();

  const ModelParts parts_;
  const Placement placement_;
  const Log log_;
  Activations activations_;
  bool warned_ = false;
  Keep keep_;
  int64_t expert_loads_ = 0;

  std::map<Network, NetworkSizes> sizes_;
  std::shared_ptr<Copier> copier_;
  std::shared_ptr<HostRoom> room_;
  std::optional<Network> asked_, entered_;  // the last one, and whose activations are counted
  DeviceBudget::Lease working_;
  std::map<Network, int64_t> kept_;           // blocks that a network keeps, as it was last placed
  std::map<Network, uint64_t> placed_under_;  // the budget's limit then
  std::map<Network, int64_t> most_kept_;      // that it may keep: the ladder
  bool ran_out_ = false;                      // the ladder has said how many networks stay
  bool shares_memory_ = false, small_windows_ = false, tiles_ = false;
  VaeTiles settled_tiles_;
  std::map<Network, std::unique_ptr<ReadAhead>> ahead_;
  std::optional<Network> next_;
  std::function<void()> check_;
  IdentityCache identities_;
  Notes cache_notes_;
  std::map<Network, lora::DoraCache> dora_;  // of a transformer, also while it is away

  Slot<Umt5Encoder> text_encoder_;
  Slot<WanModel> high_, low_;
  Slot<SpeechModel> speech_;
  Slot<Wav2Vec2> audio_encoder_;
  Slot<vae::Vae> vae_, wide_vae_;
};

}  // namespace wan
