// Answers that are made in many places.
#pragma once

#include <string>
#include <string_view>

#include "engine/serve/net/exchange.h"

namespace wan::serve {

/// {"detail": DETAIL, "error_type": TYPE} with the header X-Fal-Error-Type.
Answer error_answer(int status, const std::string& detail, const std::string& error_type = "bad_request");
/// 500 for what no handler expected; it says nothing of the cause.
Answer internal_error();

/// How an answer is put on its connection.
struct Framing {
  int version = 11;         // of the request: 10 or 11
  bool head_only = false;   // HEAD
  bool keep_alive = false;  // another request may follow
};

/// Whether an answer of this status has a body at all.
bool has_body(int status);
/// Status line and headers up to the empty line. `date` is the value of Date. Throws std::logic_error where a header of the
/// answer cannot be sent: a line break in it, a name that is no token, a status that does not exist.
std::string answer_head(const Answer& answer, const Framing& framing, std::string_view date);

/// The time of day as the header Date wants it: "Sun, 06 Nov 1994 08:49:37 GMT". The text is made once a second.
class DateText {
 public:
  const std::string& now();

 private:
  int64_t second_ = -1;
  std::string text_;
};

}  // namespace wan::serve
