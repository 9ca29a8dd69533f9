// How long a sound lasts, without decoding it: the server links no decoders.
#pragma once

#include <filesystem>

namespace wan::serve {

/// How many seconds the sound of a file lasts: WAV, FLAC, MP3, AAC (ADTS), MP4 with its kin, and Ogg with Vorbis, Opus,
/// FLAC or Speex. Of MP3 and AAC frames are counted, as their headers tell no length that can be trusted, until they are
/// more than `enough` seconds. Not more than a decoder gives, but for what the encoder added to the ends. Below 0 where
/// it is another file, or does not say. Reads a few MB at most. Blocks.
double stated_seconds(const std::filesystem::path& file, double enough);

}  // namespace wan::serve
