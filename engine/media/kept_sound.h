// Whether the sound of a video can go with it into an MP4 file, and in which form.
#pragma once

#include <string>

#include "engine/base/note.h"
#include "engine/media/container.h"
#include "engine/media/media_file.h"

namespace wan {

/// How the sound of a video goes into another: as it is where common players take its codec there, else as AAC.
enum class Keeping {
  Copied,
  Encoded,
  Nothing,  // the file has a track of sound, and nothing is in it
};

struct KeptSound {
  Keeping keeping;
  std::string why = {};  // where it is not copied: "it is FLAC"
};

/// Looks at the beginning of the sound, which is to go into a file of the kind `into`. Throws InvalidRequest naming the
/// file's field where there is no sound stream.
KeptSound kept_sound(const MediaFile& video, Container into);

/// Notes under keep_audio where the sound does not stay as it is, and where tracks are left out. Throws InvalidRequest
/// naming keep_audio where it cannot be decoded: VideoWriter would fail with it.
///   seconds: of the sound that are looked at for damage and holes; 0: its beginning alone
void check_kept_sound(const MediaFile& video, Container into, double seconds, Notes& notes);

/// To be asked where the whole picture of the file is used: notes under keep_audio how much of its sound is heard after
/// the picture and so left out. Less than two of its frames, and less than 0.1 s, which an encoder adds, is not told.
///   seconds: that the picture lasts, its first frame being at 0; rate: frames a second; called: the file in a command
void note_longer_sound(const MediaFile& video, double seconds, double rate, Notes& notes,
                       const std::string& called = "FILE");

}  // namespace wan
