// What can be known of a job before its first step: whether its inputs can be read and its output written, and what will
// be assumed. Takes milliseconds, and the time that one picture and one frame of a video take to decode.
#pragma once

#include <filesystem>

#include "engine/base/note.h"
#include "engine/job/fetched.h"
#include "engine/job/record.h"
#include "engine/residency/needs.h"

namespace wan {

/// Bytes that a job has on disk at most, by estimate.
struct DiskNeed {
  uint64_t work = 0;   // while it waits for its next phase: its input's encoding, and its state or its latents
  uint64_t video = 0;  // at a bit rate that few videos exceed
};
/// What the running job takes besides: its next state before it replaces the last, and the prompts' encodings.
inline constexpr uint64_t kRunningJob = 256 << 20;
DiskNeed disk_need(const Request& request, const Extent& extent);

/// Throws InvalidRequest naming `out` where less is free in the folder of `path`.
void check_space(uint64_t bytes, const std::filesystem::path& path);

/// How an input is looked at: its streams alone where the render reads it before any step, or as the render would.
enum class Look { Streams, Whole };

/// Opens every input, opens the encoder and writes a header with the record into nothing, and
/// compares memory with what the job needs. Notes what is assumed, where the end of a prompt is cut and where a prompt has
/// the notation of another program. Throws InvalidRequest naming the field, ModelError.
void preflight(const Request& request, const InputFiles& files, const Record& record, const ModelParts& parts,
               const MemoryNeed& need, const Placement& placement, Look look, Notes& notes, Progress& progress);

}  // namespace wan
