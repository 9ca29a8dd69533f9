// What a speech video in the making keeps on disk: its finished clips, and the last saved step of the running one.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "engine/job/record.h"
#include "engine/sampling/denoise.h"
#include "engine/speech/chain.h"

namespace wan {

/// Where the clips of a video lie while it is made: beside it.
std::filesystem::path clips_path(const std::filesystem::path& out);

/// Case name -> back end, as a record has it.
using AttentionChoices = std::map<std::string, std::string>;

/// A folder that one process at a time works in. Where this does not hold it, another does, or there is none.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;

  bool held() const { return file_ >= 0; }

 private:
  int file_;
};

/// A folder for one job. Each file appears whole or not at all, so that a kill at any moment costs at most the time
/// since the last one. Of a finished clip the encoded piece stays, and of the last finished one the motion frames, from
/// which the next goes on: 807 MB at 1280x720, 350 MB at 832x480. Its latents (19 MB) wait only until these are there.
/// States, latents and motion each say which attention computed the clips up to them, so that what goes on from one
/// computes with the same.
class ClipStore {
 public:
  /// Makes and locks the folder `work`. Throws InvalidRequest where another run holds it.
  explicit ClipStore(std::filesystem::path work);
  /// Removes the folder where no work is in it.
  ~ClipStore();
  ClipStore(const ClipStore&) = delete;

  /// To be called before all else. What another request, another model or other inputs left in the folder is removed,
  /// and so is what a kill left of finished clips; `media` is the request with its inputs as files, whose content
  /// counts.
  void begin(const Record& record, const Request& media) const;

  /// How many clips are finished, from the first on.
  int64_t finished() const;
  /// The path of a clip's encoded frames.
  std::string piece(int64_t clip) const;
  /// After the piece: the chain goes on from `motion` (undefined after the last clip).
  void finish(int64_t clip, const at::Tensor& motion, const AttentionChoices& attention) const;
  /// What `finish` was given for the last finished clip.
  MotionBuffer motion() const;
  /// What computed the clips up to what was saved last.
  AttentionChoices attention() const;

  /// Latents of a clip that is sampled and not yet finished, on the CPU; nothing where it is not.
  std::optional<at::Tensor> latents(int64_t clip) const;
  /// Saves them in place of the state.
  void save_latents(int64_t clip, const at::Tensor& latents, const AttentionChoices& attention) const;
  /// The state that was saved last of a clip; nothing where none was. Errors as load_sampling's.
  std::optional<Sampling> running(int64_t clip, const std::string& solver, const std::vector<Step>& schedule,
                                  at::Device device) const;
  void save_running(int64_t clip, const Sampling& state, const AttentionChoices& attention) const;
  /// The clips cannot become a video: none counts as finished any more.
  void forget_clips() const;
  /// The video is there.
  void remove() const;

 private:
  void remove_leftovers() const;
  void clear(const std::function<bool(const std::filesystem::path&)>& unwanted) const;
  std::filesystem::path file(int64_t clip, const char* ending) const;
  bool holds_work() const;

  std::filesystem::path work_;
  FolderLock lock_;
};

/// `record` as a broken run of the same request had it that left its clips: with its seed, where nobody chose one, and
/// with its output, where that is named after the seed.
Record taken_up(Record record);

}  // namespace wan
