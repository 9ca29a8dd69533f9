// What can be known of a job before its first step: whether its inputs can be read and its output written, and what will
// be assumed. Takes milliseconds, and the time that one picture and one frame of a video take to decode.
#pragma once

#include <filesystem>

#include "engine/base/note.h"
#include "engine/job/fetched.h"
#include "engine/job/record.h"
#include "engine/residency/needs.h"

namespace wan {

/// Bytes that a job leaves on disk at most, by estimate.
struct DiskNeed {
  uint64_t work = 0;   // encodings, states of the sampling, latents
  uint64_t video = 0;  // at a bit rate that few videos exceed
};
DiskNeed disk_need(const Request& request, const Extent& extent);

/// Throws InvalidRequest naming `out` where less is free in the folder of `path`.
void check_space(uint64_t bytes, const std::filesystem::path& path);

/// Opens every input and looks at its streams, opens the encoder and writes a header with the record into nothing, and
/// compares memory with what the job needs. Notes what is assumed, where the end of a prompt is cut and where a prompt has
/// the notation of another program. Throws InvalidRequest naming the field, ModelError.
void preflight(const Request& request, const InputFiles& files, const Record& record, const ModelFolder& folder,
               const MemoryNeed& need, const Placement& placement, Notes& notes);

}  // namespace wan
