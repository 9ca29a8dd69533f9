// Puts an answer on its connection.
#pragma once

#include <functional>
#include <string>

#include "engine/serve/net/answer.h"

namespace wan::serve {

class FileReader;
class Pool;
class Wire;

class AnswerWriter {
 public:
  /// `stops`: whether the server is about to end, at which streams of events end.
  AnswerWriter(Wire& wire, Pool& pool, DateText& date, const bool& stops,
               const std::function<void(const std::string&)>& report)
      : wire_(wire), pool_(pool), date_(date), stops_(stops), report_(report) {}

  /// False where the client did not get all of it; nothing can follow then. An answer that cannot be sent (a bad header, a
  /// file that is not there) is reported, and 500 is sent in its place.
  Awaitable<bool> write(const Answer& answer, const Framing& framing);

 private:
  Awaitable<bool> write_file(std::string head, FileReader& file);
  Awaitable<bool> write_events(std::string head, const Answer& answer, const Framing& framing);

  Wire& wire_;
  Pool& pool_;
  DateText& date_;
  const bool& stops_;
  const std::function<void(const std::string&)>& report_;
};

}  // namespace wan::serve
