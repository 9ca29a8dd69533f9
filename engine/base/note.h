// What the engine took upon itself: assumed, dropped, converted or cut. A user is told once, and the video says it, too.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "engine/base/log.h"

namespace wan {

struct Note {
  std::string subject;      // the field of the request it is about ("video_url"), or what else it names
  std::string text;         // one line: what was found, and what is made of it
  std::string change = {};  // how to have it otherwise ("--resample-fps keeps the speed"); empty where nothing does

  auto operator<=>(const Note&) const = default;
};

/// The notes of one job, in their order, each once.
class Notes {
 public:
  Notes() = default;
  /// With a log, each is an event "note" as soon as it is added.
  explicit Notes(Log log) : log_(std::move(log)) {}

  void add(Note note);
  const std::vector<Note>& list() const { return list_; }

 private:
  Log log_;
  std::vector<Note> list_;
};

/// A list of objects with `subject`, `text` and, where there is one, `change`; and back. Throws
/// nlohmann::json::exception where the list is another's.
nlohmann::ordered_json to_json(const std::vector<Note>& notes);
std::vector<Note> read_notes(const nlohmann::json& list);

}  // namespace wan
