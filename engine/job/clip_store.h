// What a speech video in the making keeps on disk: its finished clips, and the last saved step of the running one.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>

#include "engine/denoise.h"
#include "engine/job/record.h"

namespace wan {

/// Each file appears whole or not at all, so that a kill at any moment costs at most the time since the last one.
class ClipStore {
 public:
  /// Opens the folder `work`. What another request, another model or other inputs left in it is removed; `media` is the
  /// request with its inputs as files, whose content counts.
  ClipStore(std::filesystem::path work, const Record& record, const Request& media);

  /// Latents of a finished clip, on the CPU; nothing where it is not finished.
  std::optional<at::Tensor> finished(int64_t clip) const;
  /// The state that was saved last of a clip; nothing where none was. Errors as load_sampling's.
  std::optional<Sampling> running(int64_t clip, const std::string& solver, const std::vector<Step>& schedule,
                                  at::Device device) const;
  void save_running(int64_t clip, const Sampling& state) const;
  /// Saves the latents in place of the state.
  void finish(int64_t clip, const at::Tensor& latents) const;
  /// The video is there.
  void remove() const;

 private:
  std::filesystem::path file(int64_t clip, const char* ending) const;
  std::filesystem::path work_;
};

/// `record` with the seed of the clips that a broken run of the same request left in `work`, where nobody chose one.
Record with_kept_seed(Record record, const std::filesystem::path& work);

}  // namespace wan
