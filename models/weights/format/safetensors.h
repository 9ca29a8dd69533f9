// The safetensors format: eight bytes of length, a JSON header, the data.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "models/weights/format/format.h"

namespace wan {

extern const Format kSafetensors;

/// Reads the header of a `.safetensors` file. As strict as the format's own library: throws ModelError for a header
/// over 100 MB, bad or ambiguous JSON, unknown dtypes, sizes that contradict shapes, overlaps, gaps and trailing bytes.
StoredTensors read_safetensors(const std::shared_ptr<const MappedFile>& file);
/// The `__metadata__` of a `.safetensors` file; empty where there is none.
std::map<std::string, std::string> read_safetensors_metadata(const std::shared_ptr<const MappedFile>& file);
/// Writes tensors (any device, made contiguous) and metadata, wide elements first and then by name, as the format's own
/// library does, so that all are aligned and equal input gives equal bytes. Written beside, synced and renamed.
/// Throws std::runtime_error where the disk refuses; `path` is then as it was.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// The same, with a digest of the file among its metadata, which the reader above leaves out: `is_undamaged` is true
/// until a bit of the file changes. False also where the file cannot be read or has no digest.
void write_with_digest(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});
bool is_undamaged(const std::filesystem::path& path);
/// Whether it was written with one.
bool has_digest(const std::filesystem::path& path);

}  // namespace wan
