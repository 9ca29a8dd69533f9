#include "engine/base/note.h"

#include <algorithm>

namespace wan {

namespace {

nlohmann::ordered_json to_json(const Note& note) {
  nlohmann::ordered_json json = {{"subject", note.subject}, {"text", note.text}};
  if (!note.change.empty()) json["change"] = note.change;
  return json;
}

}  // namespace

void Notes::add(Note note) {
  if (std::find(list_.begin(), list_.end(), note) != list_.end()) return;
  log_("note", to_json(note));
  list_.push_back(std::move(note));
}

nlohmann::ordered_json to_json(const std::vector<Note>& notes) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Note& note : notes) list.push_back(to_json(note));
  return list;
}

std::vector<Note> read_notes(const nlohmann::json& list) {
  std::vector<Note> notes;
  for (const nlohmann::json& note : list)
    notes.push_back({note.at("subject"), note.at("text"), note.value("change", "")});
  return notes;
}

}  // namespace wan
