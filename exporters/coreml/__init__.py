"""Core ML packages: conversion, pad handlers and precision."""
