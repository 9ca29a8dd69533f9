// The work folder of an unfinished speech video: its finished clips, and the last saved step of the running one.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/log.h"
#include "engine/sampling/attention_record.h"
#include "engine/sampling/denoise.h"
#include "engine/sampling/skipping.h"
#include "engine/speech/chain.h"

namespace wan {

/// A folder for one job, which its name identifies. Each file appears whole or not at all, so that a kill at any moment
/// costs at most the time since the last one. Of a finished clip the encoded piece stays, and of the last two the motion
/// frames, from which the next goes on: 807 MB each at 1280x720, 350 MB at 832x480. Where a disk has damaged the last,
/// the one before serves, and one clip is made again. Its latents (19 MB) wait only until these are there. States,
/// latents and motion each say which attention computed the clips up to them, so that what goes on from one computes
/// with the same, and how many blocks it left out.
/// With a chain, which draws frames into the pieces, pieces and motion have its name, and latents stay: a job with another
/// chain, or with none, makes its pieces from them, without their steps.
class SpeechFolder {
 public:
  /// How many clips' motion frames are kept.
  static constexpr int64_t kGenerations = 2;

  /// Makes the folder where it is absent, and removes what a kill left of finished clips, and what is damaged, which the
  /// log is told. `chain`: names it in files, Job::chain; empty where nothing is drawn.
  explicit SpeechFolder(std::filesystem::path folder, const Log& log = {}, const std::string& chain = "");
  /// Removes the folder where it is empty.
  ~SpeechFolder();
  SpeechFolder(const SpeechFolder&) = delete;

  /// How many clips are finished, from the first on.
  int64_t finished() const;
  /// The path of a clip's encoded frames.
  std::string piece(int64_t clip) const;
  /// After the piece: the chain goes on from `motion` (undefined after the last clip), and what is drawn between frames
  /// from `last`, the last one of the piece, uint8 [H, W, 3] (undefined where nothing is). `quality`: state of a
  /// QualityStep that has seen all frames so far (undefined where nobody looks).
  void finish(int64_t clip, const at::Tensor& motion, const AttentionChoices& attention,
              const SkippedBlocks& skipped = {}, const at::Tensor& last = {}, const at::Tensor& quality = {}) const;
  /// What `finish` was given for the last finished clip.
  MotionBuffer motion() const;
  /// The last frame of the last finished clip, uint8 [H, W, 3]. Throws ModelError where finish() was given none.
  at::Tensor last_frame() const;
  /// What finish() was given as `quality` for the last finished clip; undefined where that was nothing.
  at::Tensor quality() const;
  /// What computed all that is kept.
  AttentionChoices attention() const;
  /// The most that a file of this clip or of one before it was given: with that count the clip goes on.
  SkippedBlocks skipped(int64_t clip) const;

  /// Latents of a clip that is sampled and whose piece is not there yet, on the CPU; nothing where it is not.
  std::optional<at::Tensor> latents(int64_t clip) const;
  /// How many clips from the first unfinished one on have theirs.
  int64_t sampled() const;
  /// Saves them in place of the state.
  void save_latents(int64_t clip, const at::Tensor& latents, const AttentionChoices& attention,
                    const SkippedBlocks& skipped = {}) const;
  /// The state that was saved last of a clip; nothing where none was. Errors as load_sampling's.
  std::optional<Sampling> running(int64_t clip, const Schedule& schedule, at::Device device,
                                  std::optional<FreshNoise> noise = {}) const;
  /// The step that this state makes next, from 0.
  std::optional<int64_t> running_step(int64_t clip) const;
  void save_running(int64_t clip, const Sampling& state, const AttentionChoices& attention,
                    const SkippedBlocks& skipped = {}) const;
  /// The pieces cannot become a video: no clip counts as finished any more. With a chain the latents stay.
  void forget_clips() const;

 private:
  void remove_damaged(const Log& log) const;
  bool holds_latents_of_chain() const;
  void remove_leftovers() const;
  template <typename Unwanted>
  void remove_where(Unwanted unwanted) const;
  std::vector<std::pair<std::filesystem::path, std::map<std::string, std::string>>> metadata() const;
  std::filesystem::path file(int64_t clip, const std::string& ending) const;

  std::filesystem::path folder_;
  std::string piece_, motion_;  // endings of names
  bool keeps_latents_ = false;  // of finished clips
};

}  // namespace wan
