#include "engine/media/tracks.h"

namespace wan {

void note_tracks(const Tracks& tracks, const TrackWords& words, Notes& notes) {
  if (tracks.count < 2) return;
  const bool sound = std::string(words.kind) == "sound";
  const std::string other = std::to_string(tracks.chosen == 1 ? 1 : 0);  // ffmpeg counts from 0
  notes.add({words.field,
             std::string("the ") + words.file + " has " + std::to_string(tracks.count) + " " + words.kind +
                 " tracks: number " + std::to_string(tracks.chosen) + " is " + words.done +
                 (tracks.count == 2 ? ", the other is left out" : ", the others are left out"),
             "ffmpeg -i FILE " + (sound ? "-map 0:v? -map 0:a:" + other : "-map 0:v:" + other + " -map 0:a?") +
                 " -c copy OTHER.mkv keeps another one"});
}

}  // namespace wan
