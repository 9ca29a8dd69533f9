// Files with several tracks of one kind, of which one is used.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/note.h"

namespace wan {

/// Which of a file's tracks of one kind is read; they count from 1.
struct Tracks {
  int64_t chosen = 1, count = 1;
};

struct TrackWords {
  const char* field;  // of the request
  const char* file;   // "video", "file"
  const char* kind;   // "sound" or "video"
  const char* done;   // what is done with the chosen one: "kept"
};

/// A note where tracks are left out, with the command that puts another one in place.
void note_tracks(const Tracks& tracks, const TrackWords& words, Notes& notes);

}  // namespace wan
