#include "models/files/json.h"

#include <algorithm>
#include <set>

#include "models/files/error.h"
#include "models/files/foreign.h"

namespace wan {
namespace {

using Kind = BrokenJson::Kind;

/// Builds the document and stops at the first limit. Not the library's own callback: that looks through all earlier
/// members again at the end of each object.
template <class Json>
class Builder final : public nlohmann::json_sax<Json> {
 public:
  using Base = nlohmann::json_sax<Json>;

  Builder(const JsonLimits& limits, size_t size) : limits_(limits), size_(size) {}

  Json root;
  size_t count = 0;

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(typename Base::number_integer_t value) override { return put(value); }
  bool number_unsigned(typename Base::number_unsigned_t value) override { return put(value); }
  bool number_float(typename Base::number_float_t value, const typename Base::string_t&) override { return put(value); }
  bool string(typename Base::string_t& value) override { return put(std::move(value)); }
  bool binary(typename Base::binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(typename Base::string_t& name) override {
    spend();
    if (limits_.unique_names && open_.size() == 1 && !names_.insert(name).second) {
      BrokenJson twice(Kind::Twice, 0, "must have each name once");
      twice.name = name;
      throw twice;
    }
    member_ = &(*open_.back())[std::move(name)];
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& error) override {
    const size_t byte = position > 0 ? position - 1 : 0;
    if (dynamic_cast<const nlohmann::json::out_of_range*>(&error))
      throw BrokenJson(Kind::Number, byte,
                       "must be JSON with numbers below 1.8e308, has a larger one at byte " + std::to_string(position));
    if (size_ > 0 && byte >= size_)
      throw BrokenJson(Kind::Syntax, byte,
                       "is cut short: its JSON breaks off after " + std::to_string(size_) + " bytes");
    throw BrokenJson(Kind::Syntax, byte, "must be JSON, breaks at byte " + std::to_string(position));
  }

 private:
  void spend() {
    if (++count > limits_.values)
      throw BrokenJson(Kind::Many, 0, "must have at most " + std::to_string(limits_.values) + " values, has more");
  }
  Json* place(Json&& value) {
    spend();
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    *member_ = std::move(value);
    return member_;
  }
  template <class Value>
  bool put(Value&& value) {
    place(Json(std::forward<Value>(value)));
    return true;
  }
  bool open(Json&& value) {
    if (open_.size() == size_t(limits_.depth))
      throw BrokenJson(Kind::Deep, 0,
                       "must be JSON of at most " + std::to_string(limits_.depth) + " levels, is nested deeper");
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits& limits_;
  size_t size_;
  std::vector<Json*> open_;  // from the outermost: each is the last value of the one before, so none of them moves
  Json* member_ = nullptr;   // of open_.back(), named and without its value yet
  std::set<std::string> names_;
};

/// What a server answers instead of a file: {"error": "Repository not found"}. Empty where it is none.
template <class Json>
std::string error_answer(const Json& json) {
  constexpr size_t kMostMembers = 4;
  if (!json.is_object() || json.size() > kMostMembers) return "";
  for (const char* name : {"error", "message", "detail", "errors"}) {
    const auto found = json.find(name);
    if (found == json.end()) continue;
    const std::string words = found->is_string() ? found->template get<std::string>() : "";
    return error_page(words);
  }
  return "";
}

/// What is wrong with a text that the user wrote, and what to do about it.
std::string way_to_correct(const BrokenJson& broken, std::string_view text) {
  const std::string there = place_in(text, broken.byte);
  switch (broken.kind) {
    case Kind::Syntax:
      if (broken.byte >= text.size()) return "must be whole JSON, ends at " + there + " with something open; close it";
      return "must be JSON, breaks at " + there + "; correct it there, or in front of it";
    case Kind::Number:
      return "must be JSON with numbers below 1.8e308, has a larger one at " + there + "; correct it";
    case Kind::Twice:
      return "must have each name once, has \"" + printable(broken.name) + "\" twice; take one away";
    case Kind::Large:
    case Kind::Deep:
    case Kind::Many:
      return std::string(broken.what()) + "; name the file that you wrote, or make it smaller";
  }
  return broken.what();
}

}  // namespace

std::string place_in(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const size_t line = before.rfind('\n') + 1;  // from 0 where there is none
  const auto begins = [](char letter) { return (letter & 0xC0) != 0x80; };
  return "line " + std::to_string(std::count(before.begin(), before.end(), '\n') + 1) + ", column " +
         std::to_string(std::count_if(before.begin() + std::ptrdiff_t(line), before.end(), begins) + 1);
}

template <class Json>
Json parse_json(std::string_view text, const JsonLimits& limits, size_t* count) {
  if (text.size() > limits.bytes)
    throw BrokenJson(
        Kind::Large, 0,
        "must have at most " + std::to_string(limits.bytes) + " bytes, has " + std::to_string(text.size()));
  Builder<Json> builder(limits, text.size());
  Json::sax_parse(text.begin(), text.end(), &builder);
  if (count) *count = builder.count;
  return std::move(builder.root);
}

template <class Json>
Json read_json(const MappedFile& file, const JsonLimits& limits) {
  const std::string subject = file.path().string();
  refuse_foreign(file.bytes(), Content::Json, subject);
  try {
    Json json = parse_json<Json>(file.bytes(), limits);
    if (const std::string answer = error_answer(json); !answer.empty()) throw ModelError(subject, answer);
    return json;
  } catch (const BrokenJson& broken) {
    throw ModelError(subject, std::string(broken.what()) + "; download it again");
  }
}

nlohmann::json read_written_json(const MappedFile& file, const JsonLimits& limits) {
  const std::string_view text = file.bytes();
  const std::string subject = file.path().string();
  if (text.empty()) throw ModelError(subject, "must be JSON, is empty; write it, or name another file");
  try {
    return parse_json(text, limits);
  } catch (const BrokenJson& broken) {
    throw ModelError(subject, way_to_correct(broken, text));
  }
}

template nlohmann::json parse_json(std::string_view, const JsonLimits&, size_t*);
template nlohmann::ordered_json parse_json(std::string_view, const JsonLimits&, size_t*);
template nlohmann::json read_json(const MappedFile&, const JsonLimits&);
template nlohmann::ordered_json read_json(const MappedFile&, const JsonLimits&);

}  // namespace wan
