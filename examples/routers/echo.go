package main

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
)

// echoRouter hands srv echo's own ResponseWriter, which takes part in the upgrade
// to WebSocket. Keep middleware.Gzip, Timeout and BodyDump away from srv's route.
func echoRouter(srv http.Handler) http.Handler {
	e := echo.New()
	e.Logger = slog.Default()
	e.Use(middleware.RequestLogger(), middleware.Recover())
	e.GET("/health", func(c *echo.Context) error { return c.NoContent(http.StatusNoContent) })
	e.Any("/socket.io/*", echo.WrapHandler(srv), echoUser)
	return e
}

// echoUser puts the user into the context of the request: srv sees nothing of the
// echo.Context and what c.Set puts there.
func echoUser(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		ctx, ok := authenticate(c.Request())
		if !ok {
			return echo.ErrUnauthorized
		}
		c.SetRequest(c.Request().WithContext(ctx))
		return next(c)
	}
}
