#include "engine/request/version.h"

namespace wan {

const char* version() {
  return WAN_VERSION;
}

}  // namespace wan
