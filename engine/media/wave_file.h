// How much sound the header of a WAV file states. Included by this folder's .cpp files only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace wan {

struct WaveData {
  uint64_t stated;  // bytes by the header
  uint64_t there;   // bytes from where they begin to the end of the file
};

/// The sound of a WAV (RIFF, RIFX, RF64, BW64) or Wave64 file. None where no such chunk is found, or its length is that
/// of a writer that could not go back to state it (is_open_length).
std::optional<WaveData> wave_data(const std::string& path);

/// Whether a length in bytes stands for "not known": 0, the greatest numbers of 32 and 64 bits, and those around 2^31
/// that sox (0x7F000000, 0x7FFFF000), arecord (0x80000000) and others write into a pipe, less their headers.
bool is_open_length(uint64_t bytes);

}  // namespace wan
