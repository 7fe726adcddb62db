package main

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// ginRouter hands srv gin's own ResponseWriter, which takes part in the upgrade to
// WebSocket.
func ginRouter(srv http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.Logger(), gin.Recovery())
	r.GET("/health", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	r.Any("/socket.io/*any", ginUser, gin.WrapH(srv))
	return r
}

// ginUser puts the user into the context of the request: srv sees nothing of the
// gin.Context and what c.Set puts there.
func ginUser(c *gin.Context) {
	ctx, ok := authenticate(c.Request)
	if !ok {
		c.AbortWithStatus(http.StatusUnauthorized)
		return
	}
	c.Request = c.Request.WithContext(ctx)
}
