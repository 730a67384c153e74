//go:build tools

package tools

import _ "filippo.io/age/cmd/age"
