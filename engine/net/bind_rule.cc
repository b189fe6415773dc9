#include "engine/net/bind_rule.h"

namespace weir::net {

std::string_view apply_bind(const BindRule& rule, conf::VariableSource& source,
                            ConnectOptions& options) {
  if (!rule.enabled) return {};
  options.transparent = rule.transparent;
  if (rule.template_.empty()) {
    options.bind = rule.address;
    return {};
  }
  const std::string_view text = rule.template_.evaluate(source);
  if (text.empty()) return {};
  const auto address = Address::parse_local(text);
  if (!address) return text;
  options.bind = *address;
  return {};
}

}  // namespace weir::net
