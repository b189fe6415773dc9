#pragma once

#include <string_view>

#include "confparse/template.h"
#include "engine/net/connector.h"

namespace weir::net {

// The address that connections to upstreams come from (proxy_bind and its like). Read once, by
// shared::read_bind(); then only looked at.
struct BindRule {
  bool enabled = false;
  bool transparent = false;
  Address address;           // when it is written out
  conf::Template template_;  // when it has variables; else empty
};

// Fills `options.bind` and `options.transparent` for one connection; `source` is asked for the
// variables. A text that is no address binds nothing and is returned, for the log; it is valid as
// long as the source's values. Otherwise, and where the text is empty, returns an empty one.
std::string_view apply_bind(const BindRule& rule, conf::VariableSource& source,
                            ConnectOptions& options);

}  // namespace weir::net
