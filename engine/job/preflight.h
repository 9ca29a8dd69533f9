// What can be known of a job before its first step: whether its inputs can be read and its output written, and what
// will be assumed. Takes milliseconds, and once for equal jobs the time that one picture and one frame of a video take
// to decode.
#pragma once

#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "engine/base/note.h"
#include "engine/job/fetched.h"
#include "engine/job/job.h"
#include "engine/residency/fit.h"
#include "models/text/tokenizer/tokenizer.h"

namespace wan {

/// Bytes that a job has on disk at most, by estimate.
struct DiskNeed {
  uint64_t work = 0;   // while it waits for its next phase: its input's encoding, and its state or its latents
  uint64_t video = 0;  // at a bit rate that few videos exceed
  /// While it runs, besides: its next state before it replaces the last, the prompts' encodings, and of speech the
  /// frames that the next clip goes on from.
  uint64_t running = 0;
};
DiskNeed disk_need(const Request& request, const Extent& extent);

/// FieldError::type of a disk that has no room.
inline constexpr const char* kDiskFull = "disk_full";
/// Throws InvalidRequest naming `out`, of the type kDiskFull, where less is free in the folder of `path`.
void check_space(uint64_t bytes, const std::filesystem::path& path);

/// How an input is looked at: its streams alone where the render reads it before any step, or as the render would.
enum class Look { Streams, Whole };

/// Looks at the jobs of one run. What was found in equal inputs, outputs and sizes is remembered, so that many equal
/// jobs take about the time of one.
class Preflight {
 public:
  explicit Preflight(Look look) : look_(look) {}

  /// Whether a job of this group fits, and what it computes in. `before`: as fit_of. `interpolator`: its own, where it
  /// draws frames. `checker`: its safety checker, where that looks at the video. Throws ModelError.
  Fit memory(const Request& request, const Group& group, const Placement& placement,
             const std::optional<VaeTiles>& before = {}, const InterpolatorPart& interpolator = {},
             const ModelPart& checker = {});

  /// Opens every input, opens the encoder and writes a header with the record into nothing, and refuses what does not
  /// fit. Notes what is assumed, where the end of a prompt is cut, where a prompt has the notation of
  /// another program, and where no step is made. `record` knows all inputs. Throws InvalidRequest naming the field,
  /// ModelError, Cancelled.
  void look(const Request& request, const InputFiles& files, const Record& record, const Group& group, const Fit& fit,
            Notes& notes, Progress& progress);
  /// What is to be said of a text that the encoder reads, as look() has it of the request's.
  void look_at_prompt(const std::string& field, const std::string& prompt, const Group& group, Notes& notes) {
    note_prompt(field, prompt, group.parts, notes);
  }

 private:
  /// What was found in the inputs of a job.
  struct Found {
    std::vector<Note> notes = {};
    bool keeps_sound = false;         // of its video
    std::exception_ptr refusal = {};  // an InvalidRequest; null: they can be read
  };

  const Found& inputs(const Request& request, const InputFiles& files, const Record& record, Progress& progress);
  void check_output(const Record& record, const Extent& extent, const std::string& audio_from);
  void note_prompt(const std::string& field, const std::string& prompt, const ModelParts& parts, Notes& notes);

  Look look_;
  std::map<std::string, Found> found_;  // by names and contents of the inputs, and by what they are read for
  std::set<std::string> headers_;       // by what the encoders and the muxer are opened for
  /// By task, frames, height, width, and whether steps of both experts are made.
  std::map<std::tuple<const Group*, Task, int64_t, int64_t, int64_t, bool, std::string>, Fit> memory_;
  std::map<std::filesystem::path, text::Tokenizer> tokenizers_;
};

}  // namespace wan
